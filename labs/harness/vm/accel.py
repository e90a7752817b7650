# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Hardware virtualisation, tried and not assumed: /dev/kvm may open, and guests still never run.

The answer is kept in the cache for this kernel, processor and QEMU, as a try that fails may take all of its
time limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path

from labs.harness.environment import cpu_model
from labs.harness.vm import machine, qemu
from labs.harness.vm.kernels import Kernel, cache_root
from labs.harness.vm.spec import Outcome, VmSpec
from labs.harness.vm.tools import find
from xdp.pyxdp.errors import InputError

DEVICE = Path("/dev/kvm")
TRY_S = 10.0  # a guest that does nothing but say that it is alive needs less than one


def choose(spec: VmSpec, kernel: Kernel, run: str) -> str:
    """What to boot with: "kvm" or "tcg".

    Raises:
        InputError: KVM was asked for, and there is none.
    """
    if spec.accel == "tcg":
        return "tcg"
    if spec.accel == "kvm":
        if not os.access(DEVICE, os.R_OK | os.W_OK):
            raise InputError(f"--accel kvm: {DEVICE} cannot be opened; leave it to --accel auto")
        return "kvm"
    return "kvm" if kvm_works(kernel, run) else "tcg"


def kvm_works(kernel: Kernel, run: str) -> bool:
    """Whether a guest comes alive with KVM; tried once, then remembered."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    key, memory = _key(), cache_root().parent / "kvm.json"
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(memory.read_text())
        if kept["key"] == key:
            return bool(kept["works"])
    tried = VmSpec(cpus=1, memory_mib=512, accel="kvm", timeout_s=TRY_S, boot_s=TRY_S)
    ending = machine.run(tried, kernel, None, run=run, accel="kvm", stdout=_ignore, stderr=_ignore)
    works = ending.outcome is Outcome.ENDED
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps({"key": key, "works": works, "why": ending.why}) + "\n")
    return works


def _key() -> str:
    program = find(qemu.PROGRAM)
    age = Path(program).stat().st_mtime if program else 0
    return f"{platform.release()} {platform.version()} / {cpu_model()} / {program} {age:.0f}"


def _ignore(_: bytes) -> None:
    return
