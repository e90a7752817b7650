# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The scapy engine: puts exactly the frames of a plan on an interface, through a packet socket, one by one.

Scapy builds packets once, to bytes; what is sent are those bytes, with a sequence number stamped into each.
Frames go through the device's normal transmit path (no PACKET_QDISC_BYPASS): captures on the same device do
not see a bypassing socket, and on veth, which has no queueing discipline, nothing would be gained.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import time
from collections.abc import Callable

from labs.harness.frames import Template, layout
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

from .forge import Forge
from .limits import GONE, check_mtu, is_gone
from .plan import TrafficPlan, TrafficReport, build

SO_SNDBUFFORCE = 32  # include/uapi/asm-generic/socket.h
SEND_BUFFER_BYTES = 4 << 20
FULL_RETRIES = (
    1000  # times a frame is offered again after "no buffer"; 20 µs apart at least, so 20 ms a frame
)
FULL_PAUSE_S = 20e-6
SPIN_S = 100e-6  # below this a sleep overshoots more than it waits
FULL = (errno.ENOBUFS, errno.EAGAIN)


class Traffic:
    """A plan, built: the frames to be sent, and the payload that each must still have when it is received.

    Raises:
        InputError: a packet cannot be built, is no Ethernet frame, or has no room for its number.
    """

    def __init__(self, plan: TrafficPlan) -> None:
        self.plan = plan
        if plan.limit != 0 and not plan.templates:
            raise InputError("a traffic plan without packets cannot send any: give it at least one")
        self._forge = Forge(plan) if plan.shaped else None
        self._templates = [self._prepare(build(packet)) for packet in plan.templates]

    @property
    def count(self) -> int:
        """Frames to be sent."""
        return self.plan.frames

    @property
    def longest(self) -> int:
        """Bytes of the longest frame."""
        return max(
            (len(item.buffer if isinstance(item, Template) else item) for item in self._templates), default=0
        )

    def frame(self, index: int) -> bytes:
        """The frame that is sent as number `index`, from 0; a stamp's send time is that of this call."""
        if self._forge:
            return self._forge.frame(index, time.monotonic_ns())
        template = self._templates[index % len(self._templates)]
        if isinstance(template, Template):
            return bytes(template.stamp(self.plan.first + index))
        return template

    def payload(self, sequence: int) -> bytes:
        """The payload of the frame with this sequence number, as it is sent."""
        frame = self.frame(sequence - self.plan.first)
        where = layout(frame)
        return frame[where.payload : where.end]

    def send(
        self,
        namespace: NetNs,
        interface: str,
        *,
        progress: Callable[[int], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> TrafficReport:
        """Send it all from the calling thread. Ctrl-C ends it at once, with an honest report.

        Args:
            namespace: where the interface is.
            interface: out of which the frames go.
            progress: called with the count sent so far, about every 0.1 s.
            stop: asked at the same times; true ends it.

        Raises:
            InputError: there is no such interface, or a frame is longer than its MTU.
            KernelError: the kernel refused a frame for another reason than a lack of buffers.
        """
        index = namespace.interface_index(interface)  # names those that exist, should this one not
        check_mtu(namespace, interface, self.longest)
        with contextlib.closing(namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as out:
            # A frame's memory counts here until it is consumed at the other end.
            with contextlib.suppress(OSError):
                out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
            out.bind((interface, 0))
            sender = _Sender(self, out, f"{namespace.role}/{interface}", progress, stop)
            return sender.run(lambda: is_gone(namespace, interface, index))

    def next_frame(self, index: int) -> bytes | bytearray:
        """As `frame`, without the copy: valid until the next call."""
        if self._forge:
            return self._forge.frame(index, time.monotonic_ns())
        template = self._templates[index % len(self._templates)]
        return template.stamp(self.plan.first + index) if isinstance(template, Template) else template

    def _prepare(self, frame: bytes) -> Template | bytes:
        if len(frame) < 14:
            raise InputError(f"a packet of {len(frame)} bytes is no Ethernet frame: start it with Ether()")
        if self.plan.sequence is False or self._forge:
            return frame
        if self.plan.sequence is None and layout(frame).protocol is None:
            return frame
        try:
            return Template(frame, self.plan.offset)
        except InputError:
            if self.plan.sequence is None:
                return frame
            raise


class _Sender:
    """One run of sending; holds what changes meanwhile."""

    def __init__(
        self,
        traffic: Traffic,
        out: socket.socket,
        where: str,
        progress: Callable[[int], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._traffic = traffic
        self._out = out
        self._where = where
        self._progress = progress
        self._stop = stop
        self._errors: dict[str, int] = {}
        self._retries = 0
        self._sent = 0
        self._bytes = 0
        self._ended = ""

    def run(self, gone: Callable[[], bool]) -> TrafficReport:
        interrupted = False
        began = time.monotonic_ns()
        try:
            self._loop(began)
        except KeyboardInterrupt:
            interrupted = True
        except KernelError:
            if not gone():
                raise
            self._ended = GONE
        plan = self._traffic.plan
        return TrafficReport(
            asked=plan.limit,
            sent=self._sent,
            bytes=self._bytes,
            duration_ns=time.monotonic_ns() - began,
            rate_asked_pps=plan.rate_pps,
            errors=self._errors,
            retries=self._retries,
            interrupted=interrupted,
            rate_asked_bps=plan.rate_bps,
            ended=self._ended,
            burst=plan.burst,
        )

    def _loop(self, began: int) -> None:
        traffic, send = self._traffic, self._out.send
        plan = traffic.plan
        gap_ns = 1e9 / plan.rate_pps if plan.rate_pps else 0.0
        ends_at = began + int(plan.duration_s * 1e9) if plan.duration_s is not None else None
        report_at = began + 100_000_000
        for index in itertools.count() if plan.limit is None else range(plan.limit):
            # Each frame has its time, counted from the start: after a late one comes a burst, not drift.
            # Bits were counted as they went; frames may differ in length.
            due = began + int((self._bytes * 8e9 / plan.rate_bps) if plan.rate_bps else index * gap_ns)
            if ends_at is not None and max(due, time.monotonic_ns()) >= ends_at:
                self._ended = "duration"
                return
            if plan.burst == 1 or index % plan.burst == 0:
                wait_until(due)
            frame = traffic.next_frame(index)
            try:
                size = send(frame)
            except OSError as error:
                size = self._send_again(frame, error)
            self._sent += 1
            self._bytes += size
            if index % 64 == 0 and (now := time.monotonic_ns()) >= report_at:
                report_at = now + 100_000_000
                if self._progress:
                    self._progress(self._sent)
                if self._stop and self._stop():
                    self._ended = "stopped"
                    return

    def _send_again(self, frame: bytes | bytearray, error: OSError) -> int:
        """Offer a frame again, as long as the kernel only lacks buffers, up to a bound."""
        for _ in range(FULL_RETRIES):
            number = error.errno or 0
            name = errno.errorcode.get(number, str(number))
            self._errors[name] = self._errors.get(name, 0) + 1
            if number not in FULL:
                break
            self._retries += 1
            time.sleep(FULL_PAUSE_S)
            try:
                return self._out.send(frame)
            except OSError as again:
                error = again
        hint = f"after {self._sent} of {self._traffic.plan.limit} frames"
        raise KernelError("send frame", self._where, error.errno or 0, hint) from error


def wait_until(deadline_ns: int) -> None:
    """Sleep most of the time and spin the rest, since a sleep wakes up to 60 µs late."""
    while (left := deadline_ns - time.monotonic_ns()) > 0:
        if left > SPIN_S * 2e9:
            time.sleep(left / 1e9 - SPIN_S)
