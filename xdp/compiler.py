# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compiling a BPF program of a user's, with the flags that the package's own are built with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .pyxdp.errors import InputError

FLAGS = ("-target", "bpf", "-g", "-O2", "-mcpu=v3", "-Wall")


def compile_bpf(source: Path, target: Path | None = None) -> Path:
    """Compiles a C file to a BPF object, beside it unless a target is given.

    Raises:
        InputError: clang is not installed, or refuses the source; its first error is in the message.
    """
    if shutil.which("clang") is None:
        raise InputError("clang is not installed; it compiles BPF programs")
    target = target or source.with_suffix(".o")
    command = ["clang", *FLAGS, *_host_headers(), "-c", str(source), "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        errors = [line for line in run.stderr.splitlines() if "error:" in line]
        raise InputError(f"clang refuses {source}: {errors[0] if errors else run.stderr.strip()}")
    return target


def _host_headers() -> list[str]:
    """<asm/types.h> lies in the host's multiarch folder, which clang does not search for the bpf target."""
    compiler = shutil.which("cc")
    if compiler is None:
        return []
    found = subprocess.run([compiler, "-print-multiarch"], capture_output=True, text=True, check=False).stdout
    return ["-idirafter", f"/usr/include/{found.strip()}"] if found.strip() else []
