# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Latency histograms: log-linear buckets as tester_sink.bpf.c fills them, and percentiles from them.

Below 32 ns there is one bucket a nanosecond; above, 32 an octave, so a bucket is at most 1/32 of its lower
bound wide. Its middle is reported: at most 1.6 % from what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labs.harness.traffic.layout import BUCKETS, SUB_BITS

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def bucket_of(value: int) -> int:
    """Index of the bucket for a value in nanoseconds."""
    if value >> SUB_BITS == 0:
        return value
    shift = value.bit_length() - SUB_BITS - 1
    return min(BUCKETS - 1, (shift + 1 << SUB_BITS) + (value >> shift & (1 << SUB_BITS) - 1))


def bounds(bucket: int) -> tuple[int, int]:
    """First value of a bucket, and first value of the next."""
    if bucket < 1 << SUB_BITS:
        return bucket, bucket + 1
    shift, rest = (bucket >> SUB_BITS) - 1, bucket & (1 << SUB_BITS) - 1
    first = ((1 << SUB_BITS) + rest) << shift
    return first, first + (1 << shift)


@dataclass(frozen=True)
class Latency:
    """One-way latencies in nanoseconds.

    Attributes:
        count: frames measured.
        buckets: pairs of bucket and frames in it, only those that are not empty.
        min_ns, max_ns: exact.
        sum_ns: of all.
    """

    count: int
    buckets: tuple[tuple[int, int], ...]
    min_ns: int
    max_ns: int
    sum_ns: int

    @classmethod
    def of(cls, counts: Sequence[int], min_ns: int, max_ns: int, sum_ns: int) -> Latency:
        """From the counts of all buckets."""
        filled = tuple((index, int(n)) for index, n in enumerate(counts) if n)
        return cls(sum(n for _, n in filled), filled, min_ns, max_ns, sum_ns)

    @property
    def mean_ns(self) -> float:
        """Arithmetic mean; 0 without frames."""
        return self.sum_ns / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The latency that `percent` of the frames do not exceed, within 1.6 %; 0 without frames."""
        if not self.count:
            return 0.0
        rank, seen = max(1, -(-self.count * percent // 100)), 0
        for bucket, n in self.buckets:
            seen += n
            if seen >= rank:
                first, end = bounds(bucket)
                return min(max((first + end - 1) / 2, self.min_ns), self.max_ns)
        return float(self.max_ns)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "count": self.count,
            "min_ns": self.min_ns,
            "mean_ns": round(self.mean_ns),
            **{f"p{percent:g}_ns": round(self.percentile(percent)) for percent in PERCENTILES},
            "max_ns": self.max_ns,
        }


def merged(parts: Sequence[Latency]) -> Latency:
    """All latencies of several streams."""
    counts: dict[int, int] = {}
    for part in parts:
        for bucket, n in part.buckets:
            counts[bucket] = counts.get(bucket, 0) + n
    filled = [part for part in parts if part.count]
    return Latency(
        sum(counts.values()),
        tuple(sorted(counts.items())),
        min((part.min_ns for part in filled), default=0),
        max((part.max_ns for part in filled), default=0),
        sum(part.sum_ns for part in filled),
    )
