# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sums up what a sink has seen: the same arithmetic for the sink in the kernel and the one in user space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from labs.harness.histogram import merged
from labs.harness.sink_report import Event, SinkReport, StreamReport
from labs.harness.sink_spec import SinkSpec


def summed_up(
    spec: SinkSpec,
    seen: NDArray[np.bool_],
    damaged: NDArray[np.bool_],
    streams: Mapping[int, StreamReport],
    events: Sequence[Event],
    event_count: int,
    foreign: int,
) -> SinkReport:
    """The report.

    Args:
        spec: what was looked for.
        seen: for each sequence number whether it came intact.
        damaged: whether it came changed, as far as can be told.
        streams: what was found of each.
        events: those that are kept, of `event_count`.
        event_count: how many there were.
        foreign: frames without our stamp.
    """
    first, expected = spec.first, spec.expected
    numbers = np.flatnonzero(seen)
    last = int(numbers[-1]) if numbers.size else None
    end = first + expected if expected is not None else (last + 1 if last is not None else first)
    end = min(end, spec.room)
    lost = ~(seen[first:end] | damaged[first:end])
    return SinkReport(
        expected=expected,
        first=first,
        total=_total(list(streams.values())),
        streams=streams,
        lost=_ranges(lost, first),
        lost_frames=int(np.count_nonzero(lost)),
        damaged=_ranges(damaged[first:end] & ~seen[first:end], first),
        events=tuple(events),
        event_count=event_count,
        foreign=foreign,
        last_sequence=last,
    )


def _total(parts: list[StreamReport]) -> StreamReport:
    summed = (
        "received",
        "bytes",
        "duplicates",
        "corrupt",
        "wrong_flow",
        "reordered",
        "extent_unknown",
        "beyond",
    )
    sums = {name: sum(getattr(part, name) for part in parts) for name in summed}
    late = [(part.reordered - part.extent_unknown, part.extent_mean) for part in parts]
    known = sum(n for n, _ in late)
    return StreamReport(
        **sums,
        extent_max=max((part.extent_max for part in parts), default=0),
        extent_mean=sum(n * mean for n, mean in late) / known if known else 0.0,
        first_ns=min((part.first_ns for part in parts if part.first_ns), default=0),
        last_ns=max((part.last_ns for part in parts), default=0),
        latency=merged([part.latency for part in parts]),
    )


def _ranges(bits: NDArray[np.bool_], first: int) -> tuple[tuple[int, int], ...]:
    """First and last index of each run of true, counted from `first`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], bits, [False])).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    return tuple((first + int(start), first + int(end) - 1) for start, end in pairs)
