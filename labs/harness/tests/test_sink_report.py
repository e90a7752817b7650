# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a sink is asked and what it reports: latencies in buckets, losses by flow, what counts as perfect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, UDP, Ether, IPv6, Raw

from labs.harness.histogram import Latency, bounds, bucket_of, merged
from labs.harness.sink_frames import FrameSink
from labs.harness.sink_report import SinkReport, StreamReport
from labs.harness.sink_spec import SinkSpec
from labs.harness.traffic import TrafficPlan
from labs.harness.traffic.forge import Forge
from xdp.pyxdp.errors import InputError

PACKET = Ether() / IP() / UDP(sport=1000, dport=4242) / Raw(bytes(18))
OTHER = Ether() / IPv6() / UDP() / Raw(bytes(range(200)))


@given(st.integers(0, 2**36 - 1))
def test_a_bucket_holds_its_value_and_is_at_most_a_32nd_wide(value: int) -> None:
    first, end = bounds(bucket_of(value))
    assert first <= value < end
    assert end - first <= max(1, first / 32)


def test_buckets_touch_and_cover_a_minute() -> None:
    assert all(bounds(bucket)[1] == bounds(bucket + 1)[0] for bucket in range(1023))
    assert bounds(1023)[1] > 60e9


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=300))
def test_percentiles_are_within_the_promised_error(values: list[int]) -> None:
    counts = [0] * 1024
    for value in values:
        counts[bucket_of(value)] += 1
    latency = Latency.of(counts, min(values), max(values), sum(values))
    ordered = sorted(values)
    for percent in (50.0, 90.0, 99.0, 99.9, 100.0):
        exact = ordered[max(0, int(-(-len(ordered) * percent // 100)) - 1)]
        assert latency.percentile(percent) == pytest.approx(exact, rel=0.03)
    assert merged([latency, Latency.of([], 0, 0, 0)]) == latency


def stream(**changes: int) -> StreamReport:
    zeros = dict.fromkeys(StreamReport.__dataclass_fields__, 0)
    return StreamReport(**{**zeros, "latency": Latency.of([], 0, 0, 0), **changes})  # type: ignore[arg-type]


def test_losses_are_shared_out_to_flows() -> None:
    report = SinkReport(20, 100, stream(received=14), {}, ((103, 107), (119, 119)), 6, (), (), 0, 0, 118)
    by_hand = [0, 0, 0]
    for sequence in (103, 104, 105, 106, 107, 119):
        by_hand[(sequence - 100) % 3] += 1
    assert [report.lost_of_flow(flow, 3) for flow in range(3)] == by_hand


@pytest.mark.parametrize("name", ["duplicates", "corrupt", "reordered", "wrong_flow", "beyond"])
def test_only_the_perfect_is_perfect(name: str) -> None:
    good = SinkReport(5, 0, stream(received=5), {}, (), 0, (), (), 0, 0, 4)
    assert good.perfect
    assert not SinkReport(5, 0, stream(received=5, **{name: 1}), {}, (), 0, (), (), 0, 0, 4).perfect
    assert not SinkReport(5, 0, stream(received=4), {}, (), 0, (), (), 0, 0, 4).perfect


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": "bounce"}, "unknown action"),
        ({"expected": -1}, "use 0 or more"),
        ({"per_flow": True}, "at most 4096 flows"),
        ({"sequences": 0}, "room for 0"),
        ({"flows": 10, "first_flow": 65530}, "they end at 65535"),
    ],
)
def test_a_sink_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SinkSpec(**changes)


def test_the_sink_in_user_space_reads_a_umem() -> None:
    plan = TrafficPlan([PACKET, OTHER], count=100, stamp=True)
    forge, umem = Forge(plan), np.zeros(4096 * 64, np.uint8)
    frames = [forge.frame(index, 1_000_000 + index) for index in range(100) if index != 41]
    frames[7] = frames[7][:-1] + bytes([frames[7][-1] ^ 4])
    sink = FrameSink(SinkSpec.of(plan))
    for begin in range(0, 99, 60):
        batch = frames[begin : begin + 60]
        addresses = [4096 * slot + 256 for slot in range(len(batch))]
        for at, frame in zip(addresses, batch, strict=True):
            umem[at : at + len(frame)] = np.frombuffer(frame, np.uint8)
        sink.take_umem(umem, addresses, list(map(len, batch)), now_ns=2_000_000)
    report = sink.report()
    assert (report.total.received, report.lost, report.damaged) == (98, ((41, 41),), ((7, 7),))
    assert report.total.latency.max_ns == 999_999, "the lowest bit says that the time is the frame's own"
    assert report.total.latency.percentile(50) == pytest.approx(999_950, rel=0.03)
