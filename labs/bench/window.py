# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A window of a measurement: what came out of a forwarder while generators sent, and what CPU time it had."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .generator import Generator, urgent

WARM_UP_S, WINDOW_S = 0.15, 0.3
START_S = 10


@dataclass(frozen=True)
class Window:
    """What was measured.

    Attributes:
        packets: that came out.
        seconds: how long it was.
        cpu_ns: nanoseconds that each of the forwarder's threads had a CPU, by the thread's id.
    """

    packets: int
    seconds: float
    cpu_ns: dict[int, int]

    @property
    def pps(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds


def measured(pid: int, priority: int, came_out: Callable[[], int], generator: Generator) -> Window:
    """Sends, and measures once it flows; the forwarder's threads go before ordinary ones meanwhile.

    Args:
        pid: the forwarder's process.
        priority: of its threads; the generator's have 1.
        came_out: packets that came out until now.
        generator: has not sent yet.

    Raises:
        RuntimeError: nothing came out, or a generator was through before the window's end.
    """
    for thread in _threads(pid):
        urgent(thread, priority)
    first = came_out()
    with generator.sending():
        _until_it_flows(came_out, first)
        time.sleep(WARM_UP_S)  # a window of a measurement, nothing is waited for
        before, used, began = came_out(), _cpu_ns(pid), time.monotonic()
        time.sleep(WINDOW_S)
        after, used_then, ended = came_out(), _cpu_ns(pid), time.monotonic()
        in_time = generator.runs
    if not in_time:
        raise RuntimeError("a generator was through too early: send more frames")
    spent = {thread: ns - used.get(thread, 0) for thread, ns in used_then.items()}
    return Window(after - before, ended - began, spent)


def _until_it_flows(came_out: Callable[[], int], first: int) -> None:
    """Waits for the first packet beyond those that came out before: a busy machine takes its time."""
    began = time.monotonic()
    while came_out() == first:
        if time.monotonic() > began + START_S:
            raise RuntimeError(f"no packet came out within {START_S} s")
        time.sleep(0.001)


def _threads(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]


def _cpu_ns(pid: int) -> dict[int, int]:
    return {
        thread: int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
        for thread in _threads(pid)
    }
