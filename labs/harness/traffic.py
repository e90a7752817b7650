# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic as data: a plan of scapy packets, and a sender that puts exactly that many frames on an interface.

Scapy builds packets once, to bytes; what is sent are those bytes, with a sequence number stamped into each.
Frames go through the device's normal transmit path (no PACKET_QDISC_BYPASS): captures on the same device do
not see a bypassing socket, and on veth, which has no queueing discipline, nothing would be gained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labs.harness.frames import MAX_SEQUENCE, Template, layout
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from scapy.packet import Packet

ETH_ZLEN = 60  # include/uapi/linux/if_ether.h: shortest frame, without check sequence
SO_SNDBUFFORCE = 32  # include/uapi/asm-generic/socket.h
SEND_BUFFER_BYTES = 4 << 20
FULL_RETRIES = (
    1000  # times a frame is offered again after "no buffer"; 20 µs apart at least, so 20 ms a frame
)
FULL_PAUSE_S = 20e-6
SPIN_S = 100e-6  # below this a sleep overshoots more than it waits
FULL = (errno.ENOBUFS, errno.EAGAIN)


@dataclass(frozen=True)
class TrafficPlan:
    """What to send.

    Attributes:
        packets: a scapy packet (from Ether downwards), raw bytes, or a list of either; sent in turn.
        count: frames to send in all; by default each packet once.
        rate_pps: frames a second, or None for as fast as it goes.
        sequence: stamp a sequence number. True: into every frame, and a payload without room is refused;
            False: none; None: into those that have a payload with room behind headers that we know.
        offset: of the stamp within the payload, bytes.
        first: sequence number of the first frame.
    """

    packets: Any
    count: int | None = None
    rate_pps: float | None = None
    sequence: bool | None = None
    offset: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 0:
            raise InputError(f"count {self.count}: use 0 or more frames")
        if self.rate_pps is not None and not self.rate_pps > 0:
            raise InputError(f"rate {self.rate_pps}: use more than 0 frames a second, or None for no limit")
        if not 0 <= self.first <= MAX_SEQUENCE - self.frames:
            raise InputError(f"sequence numbers from {self.first}: they end at {MAX_SEQUENCE}")

    @property
    def templates(self) -> tuple[Any, ...]:
        """The packets as a tuple, also if only one was given."""
        if isinstance(self.packets, (list, tuple)):
            return tuple(self.packets)
        return (self.packets,)

    @property
    def frames(self) -> int:
        """How many frames will be sent."""
        return len(self.templates) if self.count is None else self.count

    def replace(self, **changes: Any) -> TrafficPlan:
        """The same plan with changes."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; packets as hexadecimal bytes."""
        return {
            "packets": [_build(packet).hex() for packet in self.templates],
            "count": self.frames,
            "rate_pps": self.rate_pps,
            "sequence": self.sequence,
            "offset": self.offset,
            "first": self.first,
        }


@dataclass(frozen=True)
class TrafficReport:
    """What was sent.

    Attributes:
        asked: frames that the plan asked for.
        sent: frames that the kernel took.
        bytes: in those frames, without check sequence.
        duration_ns: from the first to after the last.
        rate_asked_pps: or None.
        errors: errno name → calls that failed so; retried ones included.
        retries: frames offered again after "no buffer".
        interrupted: Ctrl-C ended it early.
    """

    asked: int
    sent: int
    bytes: int
    duration_ns: int
    rate_asked_pps: float | None
    errors: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    interrupted: bool = False

    @property
    def rate_pps(self) -> float:
        """Achieved; when paced, over the intervals between frames: N frames at N pps last N - 1 intervals."""
        intervals = self.sent if self.rate_asked_pps is None else self.sent - 1
        return intervals * 1e9 / self.duration_ns if self.duration_ns and intervals > 0 else 0.0

    @property
    def rate_error(self) -> float | None:
        """(achieved - asked) / asked, or None if no rate was asked."""
        if self.rate_asked_pps is None or self.sent < 2:
            return None
        return self.rate_pps / self.rate_asked_pps - 1

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, rates included."""
        return {
            **dataclasses.asdict(self),
            "errors": dict(self.errors),
            "rate_pps": self.rate_pps,
            "rate_error": self.rate_error,
        }


class Traffic:
    """A plan, built: the frames to be sent, and the payload that each must still have when it is received.

    Raises:
        InputError: a packet cannot be built, is no Ethernet frame, or has no room for its number.
    """

    def __init__(self, plan: TrafficPlan) -> None:
        self.plan = plan
        if plan.frames and not plan.templates:
            raise InputError("a traffic plan without packets cannot send any: give it at least one")
        self._templates = [self._prepare(_build(packet)) for packet in plan.templates]

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
        """The frame that is sent as number `index`, from 0."""
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
        namespace.interface_index(interface)  # names those that exist, should this one not
        with contextlib.closing(namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as out:
            # A frame's memory counts here until it is consumed at the other end.
            with contextlib.suppress(OSError):
                out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
            out.bind((interface, 0))
            self._check_mtu(out, namespace.role, interface)
            return _Sender(self, out, f"{namespace.role}/{interface}", progress, stop).run()

    def next_frame(self, index: int) -> bytes | bytearray:
        """As `frame`, without the copy: valid until the next call."""
        template = self._templates[index % len(self._templates)]
        return template.stamp(self.plan.first + index) if isinstance(template, Template) else template

    def _prepare(self, frame: bytes) -> Template | bytes:
        if len(frame) < 14:
            raise InputError(f"a packet of {len(frame)} bytes is no Ethernet frame: start it with Ether()")
        if self.plan.sequence is False:
            return frame
        if self.plan.sequence is None and layout(frame).protocol is None:
            return frame
        try:
            return Template(frame, self.plan.offset)
        except InputError:
            if self.plan.sequence is None:
                return frame
            raise

    def _check_mtu(self, control: socket.socket, role: str, interface: str) -> None:
        import fcntl
        import struct

        siocgifmtu = 0x8921  # include/uapi/linux/sockios.h
        answer = fcntl.ioctl(control, siocgifmtu, struct.pack("16si12x", interface.encode(), 0))
        mtu = struct.unpack("16si12x", answer)[1]
        longest = self.longest
        if longest > mtu + 14 + 4:  # a VLAN tag does not count, as in packet_snd()
            raise InputError(
                f"a frame of {longest} bytes does not fit {role}/{interface} with MTU {mtu}: "
                f"make it at most {mtu + 14} bytes, or build the topology with a larger MTU"
            )


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

    def run(self) -> TrafficReport:
        interrupted = False
        began = time.monotonic_ns()
        try:
            self._loop(began)
        except KeyboardInterrupt:
            interrupted = True
        return TrafficReport(
            asked=self._traffic.count,
            sent=self._sent,
            bytes=self._bytes,
            duration_ns=time.monotonic_ns() - began,
            rate_asked_pps=self._traffic.plan.rate_pps,
            errors=self._errors,
            retries=self._retries,
            interrupted=interrupted,
        )

    def _loop(self, began: int) -> None:
        traffic, send = self._traffic, self._out.send
        rate = traffic.plan.rate_pps
        gap_ns = 1e9 / rate if rate else 0.0
        report_at = began + 100_000_000
        for index in range(traffic.count):
            frame = traffic.next_frame(index)
            # Each frame has its time, counted from the start: after a late one comes a burst, not drift.
            if gap_ns:
                _wait_until(began + int(index * gap_ns))
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
        hint = f"after {self._sent} of {self._traffic.count} frames"
        raise KernelError("send frame", self._where, error.errno or 0, hint) from error


def _wait_until(deadline_ns: int) -> None:
    """Sleep most of the time and spin the rest, since a sleep wakes up to 60 µs late."""
    while (left := deadline_ns - time.monotonic_ns()) > 0:
        if left > SPIN_S * 2e9:
            time.sleep(left / 1e9 - SPIN_S)


def _build(packet: Packet | bytes) -> bytes:
    if isinstance(packet, (bytes, bytearray)):
        return bytes(packet)
    try:
        return bytes(packet)
    except Exception as error:  # scapy raises whatever a field raises: struct.error, OSError, …
        raise InputError(f"scapy cannot build the packet {packet!r:.200}: {error}") from error
