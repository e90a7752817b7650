# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Generators in the kernel for a measurement: loaded first, then started together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from labs.harness.packets import datagram
from labs.harness.topology import Topology
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.run import LIVE_FRAMES, run

FRAME_BYTES = 60


class Generator:
    """One flow out of gen0, on some CPUs; each sends the same number of frames as fast as it goes.

    Args:
        topology: with gen0 and dut0.
        cpus: where to send from, a thread each.
        count: frames of each.
    """

    def __init__(self, topology: Topology, cpus: Sequence[int], count: int) -> None:
        self._topology, self._count = topology, count
        self._frame = bytes(datagram(topology.spec.end("gen0"), topology.spec.end("dut0")))[:FRAME_BYTES]
        self._seconds: list[float] = []
        self._threads = [threading.Thread(target=self._send, args=(cpu,)) for cpu in cpus]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Sends, and waits for its end; the caller goes before all others meanwhile."""
        ifindex = self._topology["gen"].interface_index("gen0")
        # Loaded before any thread is urgent: the kernel's own threads have a part in it.
        with Program.load(ProgramSpec("emit", rodata={"ifindex": ifindex})) as self._program, watching():
            for thread in self._threads:
                thread.start()
            try:
                yield
            finally:
                for thread in self._threads:
                    thread.join()

    def _send(self, cpu: int) -> None:
        with self._topology["gen"].entered():
            os.sched_setaffinity(0, {cpu})
            urgent(0, 1)
            began = time.monotonic()
            run(self._program.fd, self._frame, repeat=self._count, flags=LIVE_FRAMES)
            self._seconds.append(time.monotonic() - began)

    @property
    def runs(self) -> bool:
        """Do all of them still send?"""
        return not self._seconds and all(thread.is_alive() for thread in self._threads)

    @property
    def pps(self) -> float:
        """Frames a second that the slowest sent, once all have."""
        return self._count / max(self._seconds)


@contextmanager
def watching() -> Iterator[None]:
    """This thread before those that it measures: it only looks at two moments."""
    urgent(0, 3)
    try:
        yield
    finally:
        urgent(0, 0)


def urgent(thread: int, priority: int) -> None:
    """Puts a thread (0: the caller's) before all ordinary ones, or with priority 0 among them."""
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    os.sched_setscheduler(thread, policy, os.sched_param(priority))
