# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The sink on a real veth: what is lost, doubled, late, damaged or of another flow is named exactly."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

import pytest
from scapy.all import IP, UDP, Ether

from labs.harness.histogram import bucket_of
from labs.harness.sink import Sink, SinkSpec
from labs.harness.sink_frames import FrameSink
from labs.harness.sink_report import SinkReport
from labs.harness.tests.tester_tools import (
    ETHER,
    PACKET,
    V4,
    chance,
    checked,
    drained,
    frames_of,
    payload,
)
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan, Vary, send
from labs.harness.traffic.forge import Forge
from xdp.program import Program, ProgramSpec

pytestmark = pytest.mark.system


def inject(pair: Topology, plan: TrafficPlan, order: list[bytes], **changes: Any) -> SinkReport:
    """Sends these very frames, in this order, to the sink of the plan."""
    raw = TrafficPlan(order, sequence=False)
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, **changes)) as sink:
        assert Traffic(raw).send(pair["gen"], "gen0").sent == len(order)
        sink.wait(len(order), 0.2)
        found = sink.report()
    same = FrameSink(sink.spec)
    same.take(order)
    assert alike(same.report()) == alike(found), "the sink in user space judges differently"
    return found


def alike(report: SinkReport) -> dict[str, Any]:
    """What both sinks must agree on: all but the times, and the extents that the kernel's has forgotten."""
    plain = report.to_dict()
    for stream in (plain["total"], *plain["streams"].values()):
        count = stream["latency"]["count"]
        for name in (
            "first_ns",
            "last_ns",
            "rate_pps",
            "latency",
            "extent_mean",
            "extent_unknown",
            "extent_max",
        ):
            del stream[name]
        stream["measured"] = count
    for event in plain["events"]:
        del event["time_ns"], event["extent"]
    return plain


def test_lost_frames_are_named_by_their_numbers(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=300, first=1000, stamp=True)
    frames = frames_of(plan)
    missing = {0, 5, 6, 7, 64, 128, 255, 298, 299}
    report = inject(pair, plan, [frame for index, frame in enumerate(frames) if index not in missing])
    assert report.lost == ((1000, 1000), (1005, 1007), (1064, 1064), (1128, 1128), (1255, 1255), (1298, 1299))
    assert (report.lost_frames, report.total.received) == (9, 291)
    assert (report.total.reordered, report.total.duplicates, report.total.corrupt) == (0, 0, 0)
    assert not report.perfect


def test_duplicates_are_named(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=200, stamp=True)
    frames = frames_of(plan)
    order = [*frames[:100], frames[3], frames[99], frames[3], *frames[100:]]
    report = inject(pair, plan, order)
    assert (report.total.received, report.total.duplicates, report.lost_frames) == (200, 3, 0)
    assert [(event.kind, event.sequence) for event in report.events] == [
        ("duplicate", 3),
        ("duplicate", 99),
        ("duplicate", 3),
    ]
    assert report.total.reordered == 0, "a copy is not late, RFC 4737"


def by_the_book(order: list[int]) -> list[tuple[int, int]]:
    """(sequence, extent) of each reordered one: RFC 4737 sections 3.3 and 4.2.1, word for word."""
    found, expected = [], 0
    for position, sequence in enumerate(order):
        if sequence >= expected:
            expected = sequence + 1
        else:
            earliest = next(j for j in range(position) if order[j] > sequence)
            found.append((sequence, position - earliest))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_order_is_judged_as_rfc_4737_does(pair: Topology, seed: int) -> None:
    source = chance(seed)
    order = sorted(range(400), key=lambda n: n + source.choice([0, 0, 0, 0, source.uniform(0, 40)]))
    lost = set(source.sample(order, 20))
    order = [n for n in order if n not in lost]
    plan = TrafficPlan(PACKET, count=400, stamp=True)
    frames = frames_of(plan)
    report = inject(pair, plan, [frames[n] for n in order])
    expected = by_the_book(order)
    assert len(expected) > 10
    assert [(event.sequence, event.extent) for event in report.events] == expected
    extents = [extent for _, extent in expected]
    assert report.total.reordered == len(expected)
    assert report.total.extent_max == max(extents)
    assert report.total.extent_mean == pytest.approx(sum(extents) / len(extents))
    assert {n for first, last in report.lost for n in range(first, last + 1)} == lost


def test_a_late_frame_whose_gap_is_forgotten_has_no_extent(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=1200, stamp=True)
    frames = frames_of(plan)
    report = inject(pair, plan, [*frames[1::2], frames[0], frames[1198]])
    assert [(event.sequence, event.extent) for event in report.events] == [(0, None), (1198, 2)]
    assert (report.total.extent_unknown, report.total.extent_max) == (1, 2)


def test_frames_in_order_use_up_no_memory_of_gaps(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=600, stamp=True)
    frames = frames_of(plan)
    report = inject(pair, plan, [*frames[1:], frames[0]])
    assert [(event.sequence, event.extent) for event in report.events] == [(0, 599)]


def test_a_fragment_has_no_stamp_of_its_own(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=4, stamp=True)
    frames = frames_of(plan)
    for index, changes in ((1, {"flags": "MF"}), (2, {"frag": 2})):
        packet = Ether(frames[index])
        for name, value in changes.items():
            setattr(packet[IP], name, value)
        del packet[IP].chksum
        frames[index] = bytes(packet)
    report = inject(pair, plan, frames)
    assert (report.total.received, report.foreign, report.lost) == (2, 2, ((1, 2),))


def fix_checksum(frame: bytes) -> bytes:
    packet = Ether(frame)
    del packet[UDP].chksum
    return bytes(packet)


@pytest.mark.parametrize("size", [18, 19, 25, 26, 27, 50, 51, 82, 1000, 1472])
def test_any_changed_byte_is_found_and_named(pair: Topology, size: int) -> None:
    plan = TrafficPlan(ETHER / V4 / UDP(dport=4242) / payload(size), count=40, stamp=True)
    frames = frames_of(plan)
    source = chance(size)
    # anywhere behind the magic, flow and number: these would name another frame
    changed = {n: source.randrange(50, 42 + size) for n in (3, 17, 18, 39)}
    for n, at in changed.items():
        frame = bytearray(frames[n])
        frame[at] ^= 1 << source.randrange(8)
        frames[n] = fix_checksum(bytes(frame))
    report = inject(pair, plan, frames)
    assert (report.total.corrupt, report.total.received) == (4, 36)
    assert report.damaged == ((3, 3), (17, 18), (39, 39))
    assert report.lost == (), "what came damaged is not lost"
    assert [(event.kind, event.sequence) for event in report.events] == [("corrupt", n) for n in changed]


def test_a_shortened_frame_is_corrupt(pair: Topology) -> None:
    plan = TrafficPlan(ETHER / V4 / UDP(dport=4242) / payload(100), count=3, stamp=True)
    frames = frames_of(plan)
    frames[1] = frames[1][:-5]
    report = inject(pair, plan, frames)
    assert (report.total.received, report.total.corrupt, report.damaged) == (2, 1, ((1, 1),))


def test_frames_without_our_stamp_are_foreign_and_passed(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=10, stamp=True)
    other = frames_of(plan.replace(magic=0x1234))
    report = inject(pair, plan, [*frames_of(plan), *other, bytes(PACKET), bytes(ETHER / V4)])
    assert (report.total.received, report.foreign, report.lost_frames) == (10, 12, 0)


def test_frames_of_a_flow_that_does_not_belong_here_are_named(pair: Topology) -> None:
    vary = (Vary.parse("udp.sport=1-8"),)
    plan = TrafficPlan(PACKET, count=16, stamp=True, vary=vary)
    report = inject(pair, plan, frames_of(plan), first_flow=2, flows=5)
    assert (report.total.received, report.total.wrong_flow) == (16, 6)
    assert [(event.kind, event.flow) for event in report.events] == [
        ("wrong_flow", flow) for flow in (0, 1, 7, 0, 1, 7)
    ]


def test_a_flow_beyond_all_streams_disturbs_the_order_of_none(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=16, stamp=True, vary=(Vary.parse("udp.sport=1-8"),))
    report = inject(pair, plan, frames_of(plan)[::-1], flows=7, per_flow=True)
    assert (report.total.received, report.total.wrong_flow) == (16, 2)
    assert {flow: stream.reordered for flow, stream in report.streams.items()} == dict.fromkeys(range(7), 1)


def test_each_flow_is_judged_by_itself(pair: Topology) -> None:
    """Flows that overtake each other are in order; a frame late in its own flow is not."""
    plan = TrafficPlan(PACKET, count=40, stamp=True, vary=(Vary.parse("udp.sport=1-4"),))
    frames = frames_of(plan)
    by_flow = [frames[flow::4] for flow in (3, 1, 0, 2)]
    by_flow[1][4], by_flow[1][5] = by_flow[1][5], by_flow[1][4]
    order = [frame for flow in by_flow for frame in flow]
    report = inject(pair, plan, order, per_flow=True)
    assert {flow: stream.reordered for flow, stream in report.streams.items()} == {0: 0, 1: 1, 2: 0, 3: 0}
    assert [(event.kind, event.sequence) for event in report.events] == [("reordered", 17)]
    assert all(stream.received == stream.latency.count == 10 for stream in report.streams.values())
    assert inject(pair, plan, order).total.reordered > 10, "all in one stream they are not in order"


def test_latencies_are_in_the_buckets_where_they_belong(pair: Topology) -> None:
    """Frames stamped in the past: 50 of them 20 ms ago, 40 of them 80 ms, 9 of them 400 ms, one 5 s."""
    plan = TrafficPlan(PACKET, count=100, stamp=True)
    forge = Forge(plan)
    asked = [20e6] * 50 + [80e6] * 40 + [400e6] * 9 + [5e9]
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan)) as sink, pair["gen"].socket(17, socket.SOCK_RAW) as raw:
        raw.bind(("gen0", 0))
        for index, latency in enumerate(asked):
            raw.send(forge.frame(index, time.monotonic_ns() - int(latency)))
        sink.wait(100)
        found = sink.report().total.latency
    for percent, exact in ((50, 20e6), (90, 80e6), (99, 400e6), (99.9, 5e9)):
        # and a little that the frame is truly under way
        assert found.percentile(percent) == pytest.approx(exact, rel=0.03), percent
    assert found.max_ns == pytest.approx(5e9, rel=0.01)
    assert found.count == 100


@pytest.mark.parametrize("seconds", [60, 70, 100, 1000])
def test_a_latency_beyond_a_minute_is_in_the_last_bucket_not_in_the_first(
    pair: Topology, seconds: int
) -> None:
    plan = TrafficPlan(PACKET, count=1, stamp=True)
    found = inject(pair, plan, [Forge(plan).frame(0, time.monotonic_ns() - seconds * 10**9)]).total.latency
    assert found.max_ns == pytest.approx(seconds * 1e9, rel=0.01)
    assert found.buckets == ((min(1023, bucket_of(found.max_ns)), 1),)


@pytest.mark.parametrize("action", ["drop", "pass", "return"])
def test_the_sink_drops_passes_or_returns(pair: Topology, action: str) -> None:
    plan = TrafficPlan(PACKET, count=50, stamp=True, rate_pps=10_000)
    with (
        Program.load(ProgramSpec("xdp_pass")) as program,
        pair["gen"].socket(17, socket.SOCK_RAW, socket.htons(3)) as back,
        pair["dut"].socket(17, socket.SOCK_RAW, socket.htons(3)) as stack,
    ):
        with pair["gen"].entered():
            program.attach("gen0", "native")  # a veth takes XDP_TX of its peer only with NAPI
        back.bind(("gen0", 0))
        stack.bind(("dut0", 0))
        _, report = checked(pair, plan, action=action)
        assert report.perfect, report
        got = [drained(one) for one in (back, stack)]
    ours = [[frame for frame in frames if len(frame) == 60] for frames in got]  # not the stack's ICMP and ARP
    assert [len(frames) for frames in ours] == {"drop": [0, 0], "pass": [0, 50], "return": [50, 0]}[action]
    if action == "return":
        assert {frame[:12] for frame in ours[0]} == {bytes(PACKET)[6:12] + bytes(PACKET)[:6]}


def test_two_queues_are_counted_as_two_streams_without_a_loss() -> None:
    """Two senders at once, on two CPUs and so on two queues, share one bitmap."""
    with Topology.build(PAIR.with_links(queues=2)) as pair:
        plans = [
            TrafficPlan(PACKET, count=100_000, first=100_000 * n, stamp=True, rate_pps=150_000)
            for n in (0, 1)
        ]
        spec = SinkSpec(expected=200_000, flows=1)
        with Sink(pair["dut"], "dut0", spec, queues=2) as sink:
            cpus = sorted(os.sched_getaffinity(0))
            threads = [
                threading.Thread(target=send, args=(plan, pair["gen"], "gen0"), kwargs={"cpu": cpu})
                for plan, cpu in zip(plans, cpus, strict=False)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report = sink.report()
    assert (report.total.received, report.lost, report.total.duplicates) == (200_000, (), 0)
    assert sorted(report.streams) == [0, 1]
