# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel refuses is one clear line, and the same line on the ready pipe."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.process import NotReadyError
from labs.harness.topology import Topology
from xdp.program import Program

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ForwarderSpec("nope0"), "no interface named 'nope0' in this network namespace"),
        (ForwarderSpec("dut0", queues=(7,)), "dut0 has no queue 7: it has queue 0 only"),
        (ForwarderSpec("lo", queues=(1,)), "lo has no queue 1: it has queue 0 only"),
        (
            ForwarderSpec("dut0", frame_size=8192),
            "register UMEM .* frame size must be a power of two from 2048",
        ),
        (
            ForwarderSpec("dut0", frame_size=1024),
            "register UMEM .* frame size must be a power of two from 2048",
        ),
        (
            ForwarderSpec("dut0", frame_size=5000, unaligned=True),
            "register UMEM .*EINVAL.* frame size must be",
        ),
        (ForwarderSpec("dut0", binding="zero-copy"), "bind AF_XDP socket .*ENOTSUP.* use copy mode"),
        (ForwarderSpec("dut0", action="forward", out="dut9"), "no interface named 'dut9'"),
        (ForwarderSpec("dut0", xskmap="/nowhere"), "/nowhere"),
    ],
    ids=[
        "interface",
        "queue",
        "untold queues",
        "frame size 8192",
        "size 1024",
        "unaligned 5000",
        "zero-copy",
        "out",
        "pin",
    ],
)
def test_refusal_says_what_to_do(topology: Topology, run_id: str, spec: ForwarderSpec, message: str) -> None:
    with pytest.raises(NotReadyError, match=message) as refused:
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id)
    assert "\n" not in str(refused.value)


def test_map_of_another_type_is_no_xskmap(topology: Topology, run_id: str, program: Program) -> None:
    name = next(name for name in program.maps if name != "xsks_map")
    with pytest.raises(NotReadyError, match=r"--xskmap-fd \d+ is the map .* of another type: give an XSKMAP"):
        ForwarderProcess(
            ForwarderSpec("dut0"), namespace=topology["dut"], run=run_id, xskmap_fd=program.maps[name].fd
        )


def test_without_root_it_says_so(topology: Topology, run_id: str) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv: install util-linux")
    command = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        sys.executable,
        "-m",
        "forwarder",
        "-i",
        "lo",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert result.returncode == 2
    assert result.stderr.startswith("xdplab: ")
    assert result.stderr.count("\n") == 1
    assert "run as root" in result.stderr
