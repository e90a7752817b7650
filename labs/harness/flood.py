# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A load from inside the kernel: one frame, repeated as fast as it goes, for benchmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass

from labs.harness.netns import NetNs
from xdp.feature_tries import live_frames
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.run import LIVE_FRAMES, run


@dataclass(frozen=True)
class FloodReport:
    """Frames handed to the device, and nanoseconds that it took (some 24 ms of them at the end)."""

    sent: int
    duration_ns: int


def flood(namespace: NetNs, interface: str, frame: bytes, count: int) -> FloodReport:
    """Sends `count` copies of a frame out of a veth; its peer needs an XDP program, or GRO, to take them.

    The call ends with the last frame; a signal ends it earlier.

    Raises:
        InputError: the kernel has no live frames (Linux 5.18).
        KernelError: it was interrupted (EINTR).
    """
    live_frames()  # an older kernel runs the program as often as it is told, sends nothing, and says nothing
    ifindex = namespace.interface_index(interface)
    with Program.load(ProgramSpec("emit", rodata={"ifindex": ifindex})) as program, namespace.entered():
        start = time.perf_counter_ns()
        run(program.fd, frame, repeat=count, flags=LIVE_FRAMES)
        return FloodReport(count, time.perf_counter_ns() - start)
