# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames between a peer and sockets: made, sent, received, awaited."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from labs.conformance.case import SkipCase
from labs.conformance.frames import SMALLEST, frame
from labs.conformance.site import Wire
from labs.conformance.station import Packet, Station
from labs.conformance.waiting import PATIENCE_S, Deadline
from labs.harness.patience import patient

PAUSE_S = 0.0002  # between two frames that are sent meanwhile
WINDOW = 64  # frames on their way at once: fewer than any ring or device queue in between holds


class Exchange:
    """What a case sends and receives over one wire.

    Args:
        wire: which it is; a case may choose another.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def inbound(self, count: int, size: int | list[int] = SMALLEST, *, first: int = 0) -> list[bytes]:
        """Frames for the peer to send, numbered from `first`."""
        wire = self.wire
        return numbered(count, size, first, to=wire.dut_mac, source=wire.peer_mac)

    def outbound(self, count: int, size: int | list[int] = SMALLEST, *, first: int = 0) -> list[bytes]:
        """Frames for the DUT to send."""
        wire = self.wire
        return numbered(count, size, first, to=wire.peer_mac, source=wire.dut_mac)

    def deliver(self, frames: Sequence[bytes], to: Station, *, refill: bool = True) -> list[Packet]:
        """The peer sends, the station receives; never more on the way than the rings in between hold."""
        packets: list[Packet] = []
        for at in range(0, len(frames), WINDOW):
            window = frames[at : at + WINDOW]
            self.wire.tap.send(window)
            packets += to.receive(len(window), refill=refill)
            if len(packets) < at + len(window):
                break  # what is lost is lost: the rest would only take longer
        return packets

    def deliver_unless_refused(self, frames: Sequence[bytes], to: Station, why: str) -> list[Packet]:
        """As `deliver` for a program that passes to the stack what it cannot do; skips if that is all."""
        self.wire.tap.send(frames)
        packets: list[Packet] = []
        passed: list[bytes] = []

        def came() -> bool:
            to.wake_reception()
            packets.extend(to.receive(0))
            passed.extend(self.wire.stack.receive(0))
            return len(packets) + len(passed) >= len(frames)

        self.until(came, f"{len(frames)} frames at the socket or the stack")
        if len(passed) == len(frames):
            raise SkipCase(why)
        return packets

    def collect(self, frames: Sequence[bytes], by: Station) -> list[bytes]:
        """The station sends, the peer receives."""
        got: list[bytes] = []
        for at in range(0, len(frames), WINDOW):
            window = frames[at : at + WINDOW]
            by.send(window)
            got += self.wire.tap.receive(len(window))
            if len(got) < at + len(window):
                break
        return got

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until it holds.

        Raises:
            AssertionError: it does not, within this time.
        """
        assert self.within(PATIENCE_S, condition), f"waited {patient(PATIENCE_S):g} s for {what}"

    def within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Whether it comes to hold within this time, on an ordinary machine."""
        deadline = Deadline(seconds)
        while not condition():
            if deadline.over:
                return False
            time.sleep(0.0005)
        return True

    @contextlib.contextmanager
    def later(self, seconds: float, call: Callable[[], None]) -> Iterator[None]:
        """Calls it from another thread after this time; at the end of the block it has been called."""
        timer = threading.Timer(seconds, call)
        timer.start()
        try:
            yield
        finally:
            timer.join()

    @contextlib.contextmanager
    def sending(self, frames: Sequence[bytes]) -> Iterator[Credit]:
        """The peer sends these meanwhile, from another thread, as far as others are told to be taken."""
        credit = Credit()

        def send() -> None:
            for one in frames:
                if not credit.wait():
                    return
                self.wire.tap.send([one])
                time.sleep(PAUSE_S)

        with self.later(0, send):
            try:
                yield credit
            finally:
                credit.close()


class Credit:
    """How many more frames may be on their way: never more than `WINDOW`, however slow the case is."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(WINDOW)
        self._closed = threading.Event()

    def taken(self, count: int) -> None:
        """So many have come."""
        if count:
            self._free.release(count)

    def wait(self) -> bool:
        """Waits until another may go; False if none shall go any more."""
        while not self._free.acquire(timeout=0.01):
            if self._closed.is_set():
                return False
        return True

    def close(self) -> None:
        """What may go by now still goes, nothing else."""
        self._closed.set()


def numbered(count: int, size: int | list[int], first: int, *, to: bytes, source: bytes) -> list[bytes]:
    """Frames with the numbers from `first` on, all of one size or each of its own."""
    each = [size] * count if isinstance(size, int) else size
    return [frame(first + i, each[i], to=to, source=source) for i in range(count)]


def data(packets: Iterable[Packet]) -> list[bytes]:
    """The bytes of packets."""
    return [packet.data for packet in packets]
