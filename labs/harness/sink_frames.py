# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The sink in user space: checks frames that an AF_XDP program holds in memory, as `Sink` does in the kernel.

Frame by frame in Python, some 100,000 a second: for what a test receives through its own socket.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from labs.harness.frames import layout
from labs.harness.histogram import Latency, bucket_of
from labs.harness.sink_report import Event, SinkReport, StreamReport
from labs.harness.sink_spec import SinkSpec
from labs.harness.sink_sum import summed_up
from labs.harness.traffic.forge import is_stampable
from labs.harness.traffic.layout import BUCKETS, EVENTS
from labs.harness.traffic.stamp import MAX_FLOWS, TIME_MASK, read


class FrameSink:
    """Takes frames in the order of their arrival; `report` has the same form as that of `Sink`.

    Args:
        spec: what to look for; `action` does not matter here, and there is one stream a flow or one in all.
    """

    def __init__(self, spec: SinkSpec | None = None) -> None:
        self.spec = spec or SinkSpec()
        self._seen = np.zeros(self.spec.room, np.bool_)
        self._damaged = np.zeros(self.spec.room, np.bool_)
        self._streams: dict[int, _Stream] = {}
        self._events: list[Event] = []
        self._event_count = self._foreign = 0

    def take_umem(
        self,
        umem: NDArray[np.uint8],
        addresses: Iterable[int],
        lengths: Iterable[int],
        *,
        now_ns: int | None = None,
        queue: int = 0,
    ) -> None:
        """Takes a batch of receive descriptors: offsets and lengths within a UMEM (uint8, one dimension)."""
        frames = [umem[at : at + size].tobytes() for at, size in zip(addresses, lengths, strict=True)]
        self.take(frames, now_ns=now_ns, queue=queue)

    def take(self, frames: Sequence[bytes], *, now_ns: int | None = None, queue: int = 0) -> None:
        """Takes frames that were received at about one time (CLOCK_MONOTONIC; now by default)."""
        now = time.monotonic_ns() if now_ns is None else now_ns
        for frame in frames:
            self._take(frame, now, queue)

    def _take(self, frame: bytes, now: int, queue: int) -> None:
        spec, where = self.spec, layout(frame)
        stamp = read(frame[where.payload : where.end], spec.magic) if is_stampable(frame, where) else None
        if stamp is None:
            self._foreign += 1
            return
        # A flow that is not known here is counted in the first stream, whose order it is no part of.
        stranger = spec.per_flow and stamp.flow >= spec.flow_streams
        key = stamp.flow if spec.per_flow and not stranger else 0
        stream = self._streams.setdefault(key, _Stream())
        stream.first_ns = stream.first_ns or now
        stream.last_ns = now

        def note(kind: str, extent: int | None = None) -> None:
            self._event_count += 1
            if len(self._events) < EVENTS:
                event = Event(kind, stamp.sequence, stamp.flow, queue, len(frame), now, extent)
                self._events.append(event)

        fits = stamp.sequence < spec.room
        if not stamp.intact:
            stream.corrupt += 1
            if fits:
                self._damaged[stamp.sequence] = True
            note("corrupt")
            return
        if fits and self._seen[stamp.sequence]:
            stream.duplicates += 1
            note("duplicate")
            return
        if fits:
            self._seen[stamp.sequence] = True
        else:
            stream.beyond += 1
        stream.received += 1
        stream.bytes += len(frame)
        if not spec.first_flow <= stamp.flow < spec.first_flow + (spec.flows or MAX_FLOWS):
            stream.wrong_flow += 1
            note("wrong_flow")
        late = None if stranger else stream.judge_order(stamp.sequence)
        if late is not None:
            note("reordered", late)
        if stamp.own_time:
            stream.measure((now - stamp.sent_ns) & TIME_MASK)

    def report(self) -> SinkReport:
        """What was found so far."""
        streams = {key: stream.report() for key, stream in sorted(self._streams.items())}
        return summed_up(
            self.spec, self._seen, self._damaged, streams, self._events, self._event_count, self._foreign
        )


class _Stream:
    """The counts of one stream; remembers every gap, so that each late frame's extent is known."""

    def __init__(self) -> None:
        self.received = self.bytes = self.duplicates = self.corrupt = self.wrong_flow = self.beyond = 0
        self.first_ns = self.last_ns = 0
        self._expected = self._reordered = self._extent_sum = self._extent_max = 0
        self._gap_starts: list[int] = []
        self._gap_arrivals: list[int] = []
        self._buckets = [0] * BUCKETS
        self._latency_min = self._latency_max = self._latency_sum = 0

    def judge_order(self, sequence: int) -> int | None:
        """Of a frame that `received` counts already; gives a late one's extent, RFC 4737 section 4.2.1."""
        if sequence >= self._expected:
            if sequence > self._expected:
                self._gap_starts.append(self._expected)
                self._gap_arrivals.append(self.received)
            self._expected = sequence + 1
            return None
        extent = self.received - self._gap_arrivals[bisect.bisect_right(self._gap_starts, sequence) - 1]
        self._reordered += 1
        self._extent_sum += extent
        self._extent_max = max(self._extent_max, extent)
        return extent

    def measure(self, latency: int) -> None:
        self._buckets[bucket_of(latency)] += 1
        self._latency_sum += latency
        self._latency_max = max(self._latency_max, latency)
        self._latency_min = min(self._latency_min or latency, latency)

    def report(self) -> StreamReport:
        return StreamReport(
            received=self.received,
            bytes=self.bytes,
            duplicates=self.duplicates,
            corrupt=self.corrupt,
            wrong_flow=self.wrong_flow,
            reordered=self._reordered,
            extent_max=self._extent_max,
            extent_mean=self._extent_sum / self._reordered if self._reordered else 0.0,
            extent_unknown=0,
            beyond=self.beyond,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            latency=Latency.of(self._buckets, self._latency_min, self._latency_max, self._latency_sum),
        )
