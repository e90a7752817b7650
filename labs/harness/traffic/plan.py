# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What to send, as data: one plan for all engines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labs.harness.frames import MAX_SEQUENCE
from xdp.pyxdp.errors import InputError

from .fields import Vary
from .layout import FIELDS
from .stamp import DEFAULT_MAGIC, MAX_FLOWS

if TYPE_CHECKING:
    from scapy.packet import Packet

MAX_BURST = 65536
TIME_EVERY = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class TrafficPlan:
    """What to send.

    Attributes:
        packets: a scapy packet (from Ether downwards), raw bytes, or a list of either; sent in turn.
        count: frames to send in all; by default each packet once, or what the duration allows.
        rate_pps: frames a second, or None for as fast as it goes.
        sequence: stamp a sequence number. True: into every frame, and a payload without room is refused;
            False: none; None: into those that have a payload with room behind headers that we know.
            A `stamp` takes its place.
        offset: of the sequence number within the payload, bytes.
        first: sequence number of the first frame.
        duration_s: end after this time at the latest.
        rate_bps: instead of `rate_pps`: bits a second, counted over the frames without check sequence.
        burst: frames that go together; the rate holds on average.
        vary: header fields that differ from flow to flow.
        flows: how many flows; by default as many as the field with the most values has.
        stamp: carry the tester's stamp (magic, sequence number, flow, send time, check), for `Sink`.
        time_every: of the xdp engine: read the clock for each frame (1), or for one of 2, 4, … 64, which is a
            third faster; only these frames' latencies are measured. By default one of 16; where a rate is
            asked it is always each.
        zero_checksum: write no UDP checksum over IPv4, instead of keeping it right.
        magic: 16 bits that tell this stream's stamps from others.
    """

    packets: Any
    count: int | None = None
    rate_pps: float | None = None
    sequence: bool | None = None
    offset: int = 0
    first: int = 0
    duration_s: float | None = None
    rate_bps: float | None = None
    burst: int = 1
    vary: tuple[Vary, ...] = ()
    flows: int | None = None
    stamp: bool = False
    time_every: int | None = None
    zero_checksum: bool = False
    magic: int = DEFAULT_MAGIC

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 0:
            raise InputError(f"count {self.count}: use 0 or more frames")
        for rate, unit in ((self.rate_pps, "frames"), (self.rate_bps, "bits")):
            if rate is not None and not (rate > 0 and math.isfinite(rate)):
                raise InputError(f"rate {rate}: use more than 0 {unit} a second, or None for no limit")
        if self.rate_pps is not None and self.rate_bps is not None:
            raise InputError("a rate in frames a second and one in bits a second: give one of them")
        if self.duration_s is not None and not (self.duration_s > 0 and math.isfinite(self.duration_s)):
            raise InputError(f"duration {self.duration_s}: use more than 0 seconds")
        if not 1 <= self.burst <= MAX_BURST:
            raise InputError(f"burst {self.burst}: use 1 to {MAX_BURST} frames")
        if len(self.vary) > FIELDS:
            raise InputError(f"{len(self.vary)} fields vary: at most {FIELDS} can")
        names = [one.field for one in self.vary]
        if len(set(names)) != len(names):
            raise InputError(f"the same field varies twice: {', '.join(names)}")
        if self.flows is not None and not 1 <= self.flows <= MAX_FLOWS:
            raise InputError(f"{self.flows} flows: use 1 to {MAX_FLOWS}")
        if self.time_every is not None and self.time_every not in TIME_EVERY:
            raise InputError(
                f"a time every {self.time_every} frames: use one of {', '.join(map(str, TIME_EVERY))}"
            )
        if not 0 <= self.magic < 1 << 16:
            raise InputError(f"magic {self.magic}: use 16 bits")
        if not 0 <= self.first <= MAX_SEQUENCE - (self.limit or 0):
            raise InputError(f"sequence numbers from {self.first}: they end at {MAX_SEQUENCE}")

    @property
    def templates(self) -> tuple[Any, ...]:
        """The packets as a tuple, also if only one was given."""
        if isinstance(self.packets, (list, tuple)):
            return tuple(self.packets)
        return (self.packets,)

    @property
    def limit(self) -> int | None:
        """How many frames will be sent at most; None: as many as the duration allows."""
        if self.count is None and self.duration_s is None:
            return len(self.templates)
        return self.count

    @property
    def frames(self) -> int:
        """How many frames will be sent.

        Raises:
            InputError: that is not known, as only the duration is.
        """
        if self.limit is None:
            raise InputError("how many frames a duration gives is known when it is over: give a count")
        return self.limit

    @property
    def flow_count(self) -> int:
        """How many flows there are; frame n belongs to flow n modulo this."""
        if self.flows is not None:
            return self.flows
        return max((one.values for one in self.vary), default=1)

    @property
    def shaped(self) -> bool:
        """Does anything but the sequence number differ from frame to frame of one packet?"""
        return self.stamp or bool(self.vary) or self.zero_checksum

    def replace(self, **changes: Any) -> TrafficPlan:
        """The same plan with changes."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; packets as hexadecimal bytes."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {
            **plain,
            "packets": [build(packet).hex() for packet in self.templates],
            "count": self.limit,
            "vary": [str(one) for one in self.vary],
            "flows": self.flow_count,
        }


@dataclass(frozen=True)
class TrafficReport:
    """What was sent.

    Attributes:
        asked: frames that the plan asked for; None if it gave only a duration.
        sent: frames that the kernel took; of the xdp engine: that were made and handed to the device.
        bytes: in those frames, without check sequence.
        duration_ns: from the first to after the last.
        rate_asked_pps: or None.
        errors: errno name → calls that failed so; retried ones included.
        retries: frames offered again after "no buffer".
        interrupted: Ctrl-C ended it early.
        rate_asked_bps: or None.
        engine: "scapy", "socket" or "xdp".
        ended: why, if not because all was sent: "duration", "stopped", "device disappeared".
        refused: frames that the device or its peer's ring did not take, as the driver counts them; None where
            that is not counted.
        late_ns: the furthest that a frame was behind its time; None where that is not measured.
        given_up_ns: by how much the frames' times were put off, in all, as they were too far behind to be
            caught up with; None where that is not measured.
        burst: frames that went together when paced.
    """

    asked: int | None
    sent: int
    bytes: int
    duration_ns: int
    rate_asked_pps: float | None
    errors: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    interrupted: bool = False
    rate_asked_bps: float | None = None
    engine: str = "scapy"
    ended: str = ""
    refused: int | None = None
    late_ns: int | None = None
    given_up_ns: int | None = None
    burst: int = 1

    @property
    def complete(self) -> bool:
        """Was everything sent that was asked for?"""
        return self.sent == self.asked if self.asked is not None else self.ended == "duration"

    @property
    def paced(self) -> bool:
        """Was a rate asked?"""
        return self.rate_asked_pps is not None or self.rate_asked_bps is not None

    @property
    def rate_pps(self) -> float:
        """Achieved; when paced, over the intervals between bursts: N frames at N pps last N - 1 intervals."""
        intervals = (self.sent - 1) // self.burst * self.burst if self.paced else self.sent
        return intervals * 1e9 / self.duration_ns if self.duration_ns and intervals > 0 else 0.0

    @property
    def rate_bps(self) -> float:
        """Achieved bits a second, over the frames without check sequence."""
        return self.rate_pps * 8 * self.bytes / self.sent if self.sent else 0.0

    @property
    def rate_error(self) -> float | None:
        """(achieved - asked) / asked, or None if no rate was asked."""
        if not self.paced or self.sent < 2:
            return None
        if self.rate_asked_pps is not None:
            return self.rate_pps / self.rate_asked_pps - 1
        return self.rate_bps / (self.rate_asked_bps or 1.0) - 1

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, rates included."""
        return {
            **dataclasses.asdict(self),
            "errors": dict(self.errors),
            "complete": self.complete,
            "rate_pps": self.rate_pps,
            "rate_bps": self.rate_bps,
            "rate_error": self.rate_error,
        }


def build(packet: Packet | bytes) -> bytes:
    """A packet's bytes.

    Raises:
        InputError: scapy cannot build it.
    """
    if isinstance(packet, (bytes, bytearray)):
        return bytes(packet)
    try:
        return bytes(packet)
    except Exception as error:
        raise InputError(f"scapy cannot build the packet {packet!r:.200}: {error}") from error
