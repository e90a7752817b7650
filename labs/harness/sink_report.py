# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a sink found: received, lost, twice, late, damaged, and how long it took."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labs.harness.histogram import Latency


@dataclass(frozen=True)
class StreamReport:
    """One flow, or one receive queue.

    Attributes:
        received: intact frames, the first copy of each.
        bytes: in those.
        duplicates: further copies.
        corrupt: frames whose stamp or payload was changed; their flow and number are what the stamp claims.
        wrong_flow: received frames whose flow does not belong here.
        reordered: received frames that came after one with a greater number (RFC 4737, Type-P-Reordered).
        extent_max, extent_mean: by how many frames these came late (RFC 4737 section 4.2.1).
        extent_unknown: of the reordered, those whose gap was forgotten: 256 gaps are remembered.
        beyond: received frames with a number that the sink's bitmap has no room for: not checked for copies.
        first_ns, last_ns: CLOCK_MONOTONIC, when the first and the last frame came that had a time of its own.
        latency: of the received frames that had a send time of their own (see `TrafficPlan.time_every`).
    """

    received: int
    bytes: int
    duplicates: int
    corrupt: int
    wrong_flow: int
    reordered: int
    extent_max: int
    extent_mean: float
    extent_unknown: int
    beyond: int
    first_ns: int
    last_ns: int
    latency: Latency

    @property
    def rate_pps(self) -> float:
        """Received frames a second, over the intervals between them."""
        span = self.last_ns - self.first_ns
        return (self.received - 1) * 1e9 / span if span > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**dataclasses.asdict(self), "latency": self.latency.to_dict(), "rate_pps": self.rate_pps}


@dataclass(frozen=True)
class Event:
    """One frame that is named.

    Attributes:
        kind: "duplicate", "reordered", "corrupt" or "wrong_flow".
        sequence, flow: of the stamp; of a corrupt one what it claims.
        queue: receive queue.
        length: bytes of the frame.
        time_ns: CLOCK_MONOTONIC.
        extent: of a reordered frame; None if unknown, or of another kind.
    """

    kind: str
    sequence: int
    flow: int
    queue: int
    length: int
    time_ns: int
    extent: int | None


@dataclass(frozen=True)
class SinkReport:
    """All that a sink found.

    Attributes:
        expected: frames that were to come, from `first` on; None if that was not said.
        first: the first sequence number expected.
        total: over all streams.
        streams: by flow, or by receive queue.
        lost: first and last number of each hole: what came neither intact nor damaged. Without `expected`
            up to the greatest number that came.
        lost_frames: how many numbers these are.
        damaged: likewise those that came, but only damaged.
        events: the first frames that were twice, late, damaged or of a wrong flow, one by one.
        event_count: how many there were.
        foreign: frames without our stamp, which were passed to the stack.
        last_sequence: the greatest number that came; None if none did.
    """

    expected: int | None
    first: int
    total: StreamReport
    streams: Mapping[int, StreamReport]
    lost: tuple[tuple[int, int], ...]
    lost_frames: int
    damaged: tuple[tuple[int, int], ...]
    events: tuple[Event, ...]
    event_count: int
    foreign: int
    last_sequence: int | None

    @property
    def damaged_frames(self) -> int:
        """How many numbers came only damaged."""
        return sum(last - first + 1 for first, last in self.damaged)

    @property
    def perfect(self) -> bool:
        """All that was expected came, once, in order, intact, and in its flow."""
        total = self.total
        return not (
            self.lost_frames
            or total.duplicates
            or total.corrupt
            or total.reordered
            or total.wrong_flow
            or total.beyond
            or (self.expected is not None and total.received != self.expected)
        )

    def lost_of_flow(self, flow: int, flows: int) -> int:
        """Lost frames of one flow, where frame n is of flow (n - first) modulo `flows`."""
        count = 0
        for first, last in self.lost:
            low, high = first - self.first, last - self.first + 1
            count += (high - flow + flows - 1) // flows - (low - flow + flows - 1) // flows
        return count

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "perfect": self.perfect,
            "expected": self.expected,
            "first": self.first,
            "received": self.total.received,
            "lost": self.lost_frames,
            "lost_ranges": [list(hole) for hole in self.lost],
            "damaged_ranges": [list(hole) for hole in self.damaged],
            "foreign": self.foreign,
            "last_sequence": self.last_sequence,
            "total": self.total.to_dict(),
            "streams": {str(key): stream.to_dict() for key, stream in self.streams.items()},
            "events": [dataclasses.asdict(event) for event in self.events],
            "event_count": self.event_count,
        }
