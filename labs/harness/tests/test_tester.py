# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The tester on a real veth: what is sent is what was asked, and what goes wrong is named exactly."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.all import IP, UDP, Dot1Q, Ether, IPv6, Raw

from labs.harness.histogram import bucket_of
from labs.harness.sink import Sink, SinkSpec
from labs.harness.sink_frames import FrameSink
from labs.harness.sink_report import SinkReport
from labs.harness.topology import PAIR, NodeSpec, Topology
from labs.harness.traffic import ENGINES, Traffic, TrafficPlan, TrafficReport, Vary, send
from labs.harness.traffic.forge import Forge
from labs.harness.traffic.layout import Stamp
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError, KernelError

pytestmark = pytest.mark.lab

GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETHER = Ether(src=GEN.mac, dst=DUT.mac)
V4 = IP(src=GEN.ip, dst=DUT.ip)
V6 = IPv6(src="fd00::1", dst="fd00::2")
PACKET = ETHER / V4 / UDP(sport=1000, dport=4242) / Raw(bytes(18))
BIG = 3000


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (repeatable, no secret)


def payload(size: int, seed: int = 0) -> Raw:
    return Raw(chance(seed).randbytes(size))


@pytest.fixture
def pair() -> Iterator[Topology]:
    with Topology.build(PAIR) as topology:
        yield topology


def checked(
    pair: Topology, plan: TrafficPlan, engine: str = "xdp", urgent: bool = False, **changes: Any
) -> tuple[TrafficReport, SinkReport]:
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, **changes)) as sink:
        sent = send(plan, pair["gen"], "gen0", engine, urgent=urgent)
        sink.wait(sent.sent)
        return sent, sink.report()


def received(pair: Topology, plan: TrafficPlan, count: int) -> list[bytes]:
    """The frames themselves, as a packet socket behind a program that passes everything sees them."""
    with (
        Program.load(ProgramSpec("xdp_pass")) as program,
        pair["dut"].socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw,
    ):
        raw.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        raw.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        raw.bind(("dut0", 0))
        with pair["dut"].entered():
            program.attach("dut0", "native")
        sent = send(plan, pair["gen"], "gen0", urgent=True)
        assert sent.sent == count
        return drained(raw)


def drained(raw: socket.socket) -> list[bytes]:
    """All frames that came in, with the VLAN tag that the kernel takes out of them."""
    raw.settimeout(0.1)
    frames: list[bytes] = []
    while True:
        try:
            frame, extra, _, address = raw.recvmsg(4096, 256)
        except TimeoutError:
            return frames
        if address[2] == 4:  # PACKET_OUTGOING: the stack's own answers
            continue
        for level, kind, data in extra:
            if (level, kind) == (263, 8):
                status, *_, tag, tag_type = struct.unpack("=IIIHHHH", data)
                if status & 0x10:  # TP_STATUS_VLAN_VALID
                    frame = frame[:12] + struct.pack("!HH", tag_type, tag) + frame[12:]
        frames.append(frame)


def blanked(frame: bytes) -> bytes:
    """Without what the send time makes differ: time and check of the stamp, and the UDP checksum."""
    return frame[:40] + frame[42:50] + frame[60:]


@pytest.mark.parametrize(
    ("engine", "count"),
    [
        *(("xdp", n) for n in (0, 1, 63, 64, 65, 3000)),
        *((e, n) for e in ("scapy", "socket") for n in (0, 1, 65)),
    ],
)
def test_exactly_the_asked_count_is_sent_and_received(pair: Topology, engine: str, count: int) -> None:
    sent, report = checked(pair, TrafficPlan(PACKET, count=count, stamp=True), engine)
    assert (sent.sent, sent.bytes, sent.complete) == (count, 60 * count, True)
    assert (report.total.received, report.total.bytes, report.lost) == (count, 60 * count, ())
    assert report.perfect, report
    # as fast as it goes the xdp engine reads the clock for one frame of 16
    assert report.total.latency.count == (-(-count // 16) if engine == "xdp" else count)


@pytest.mark.parametrize(
    ("every", "rate"), [(1, None), (4, None), (64, None), (64, 500_000), (None, 500_000)]
)
def test_latency_is_measured_of_frames_with_a_time_of_their_own(
    pair: Topology, every: int | None, rate: int | None
) -> None:
    plan = TrafficPlan(PACKET, count=1000, stamp=True, time_every=every, rate_pps=rate)
    _, report = checked(pair, plan)
    assert report.perfect, report
    assert report.total.latency.count == (1000 if rate or every is None else -(-1000 // every))
    assert 0 < report.total.latency.max_ns < 1e9


def test_a_million_come_once_in_order_undamaged(pair: Topology) -> None:
    sent, report = checked(pair, TrafficPlan(PACKET, count=1_000_000, stamp=True))
    assert (sent.sent, sent.refused) == (1_000_000, 0)
    assert report.perfect, report
    assert report.last_sequence == 999_999


def test_every_template_goes_out_in_its_order(topology_3500: Topology) -> None:
    """4,096 templates of 60 to 3,000 bytes, and a second round begun; each arrives as the forge makes it."""
    source = chance(5)
    sizes = [60, BIG, *(source.randint(60, BIG) for _ in range(4094))]
    longest = bytes(ETHER / V4 / UDP(chksum=0) / payload(BIG - 42))
    plan = TrafficPlan([cut(longest, size) for size in sizes], count=4200, stamp=True, rate_pps=20_000)
    frames = received(topology_3500, plan, 4200)
    assert len(frames) == 4200
    forge = Forge(plan)
    assert all(blanked(frame) == blanked(forge.frame(index)) for index, frame in enumerate(frames)), (
        "another frame, or another order"
    )


def cut(frame: bytes, size: int) -> bytes:
    """The first bytes of a datagram without checksum, with its lengths put right."""
    lengths = struct.pack("!H", size - 14), struct.pack("!HH", size - 34, 0)
    return frame[:16] + lengths[0] + frame[18:38] + lengths[1] + frame[42:size]


@pytest.fixture
def topology_3500() -> Iterator[Topology]:
    with Topology.build(PAIR.with_links(mtu=3400)) as topology:
        yield topology


@pytest.mark.parametrize(
    ("packet", "vary"),
    [
        (PACKET, ("udp.sport=1000-1999", "ip.src=10.0.0.1-10.0.1.0")),
        (PACKET, ("ip.id=0-1000", "eth.src=02:00:00:00:00:01-02:00:00:00:00:ff")),
        (
            ETHER / V4 / UDP(sport=7, dport=4242) / payload(600),
            ("udp.dport=1-65000", "ip.dst=1.0.0.1-1.0.9.9"),
        ),
        (ETHER / Dot1Q(vlan=9) / V4 / UDP() / payload(77), ("vlan.id=1-99", "udp.sport=1-500")),
        (ETHER / V6 / UDP() / payload(301), ("ip6.src=fd00::1-fd00::1ff", "udp.sport=1-77")),
    ],
)
def test_what_the_kernel_makes_is_what_python_makes(
    pair: Topology, packet: Any, vary: tuple[str, ...]
) -> None:
    """Each received frame's checksums are recomputed by scapy, and its fields are those of its flow."""
    plan = TrafficPlan(packet, count=1500, stamp=True, vary=tuple(map(Vary.parse, vary)), rate_pps=50_000)
    forge = Forge(plan)
    at = forge.blanks[0].stamp_at
    frames = received(pair, plan, 1500)
    assert len(frames) == 1500
    for index, frame in enumerate(frames):
        stamp = Stamp.from_buffer_copy(frame[at:])
        assert (stamp.flow, stamp.sequence) == (index % plan.flow_count, index)
        assert frame == forge.frame(index, stamp.sent_low | stamp.sent_high << 32), (index, Ether(frame))


def test_the_kernel_too_sends_a_udp_sum_of_zero_as_all_ones(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=10, sequence=False, vary=(Vary.parse("udp.sport=1000-1009"),))
    # the payload that makes the sum of flow 5 come out as 0: its own sum, added to itself inverted
    sum_of_5 = int.from_bytes(Forge(plan).frame(5)[40:42], "big")
    packet = PACKET.copy()
    packet[Raw].load = sum_of_5.to_bytes(2, "big") + bytes(16)
    frames = received(pair, plan.replace(packets=packet), 10)
    assert [int.from_bytes(frame[40:42], "big") for frame in frames][4:7] == [1, 0xFFFF, 0xFFFE]


def test_a_mix_of_sizes_and_protocols_is_verified(topology_3500: Topology) -> None:
    packets = [
        PACKET,
        ETHER / V4 / UDP() / payload(1472),
        ETHER / Dot1Q(vlan=9) / V6 / UDP() / payload(99),
        ETHER / Dot1Q(vlan=9) / Dot1Q(vlan=8) / V4 / UDP() / payload(BIG - 50),
    ]
    sent, report = checked(topology_3500, TrafficPlan(packets, count=40_000, stamp=True))
    assert sent.sent == 40_000
    assert report.perfect, report


@pytest.mark.parametrize("zero", [False, True])
def test_a_udp_socket_takes_every_datagram(pair: Topology, zero: bool) -> None:
    """The stack checks the checksum of each; a wrong one would be dropped and counted."""
    vary = (Vary.parse("udp.sport=2000-2999"), Vary.parse("ip.src=192.168.1.100-192.168.1.199"))
    plan = TrafficPlan(PACKET, count=20_000, stamp=True, rate_pps=100_000, vary=vary, zero_checksum=zero)
    with pair["dut"].socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        taker.bind(("", 4242))
        taker.settimeout(1)
        _, report = checked(pair, plan, action="pass")
        assert report.perfect, report
        for index in range(20_000):
            data, (address, port) = taker.recvfrom(100)
            assert Stamp.from_buffer_copy(data).sequence == index
            assert (address, port) == (f"192.168.1.{100 + index % 100}", 2000 + index % 1000)


@pytest.mark.parametrize("rate", [10_000, 100_000, 500_000])
def test_the_rate_is_kept_and_never_exceeded(pair: Topology, rate: int) -> None:
    sent, report = checked(pair, TrafficPlan(PACKET, count=rate // 2, rate_pps=rate, stamp=True), urgent=True)
    # How close it comes is for `make bench-tester`: a busy machine may slow it down, nothing speeds it up.
    assert sent.rate_error is not None
    assert -0.1 < sent.rate_error < 0.005
    assert report.perfect, report
    assert report.total.rate_pps == pytest.approx(rate, rel=0.1)


def test_bits_a_second_count_the_length_of_each_frame(pair: Topology) -> None:
    packets = [PACKET, ETHER / V4 / UDP() / payload(1472)]
    sent, _ = checked(pair, TrafficPlan(packets, count=20_000, rate_bps=200e6, stamp=True), urgent=True)
    assert sent.rate_bps == pytest.approx(200e6, rel=0.1)


def test_a_burst_goes_together_and_the_rate_holds_on_average(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=2000, rate_pps=10_000, burst=50, stamp=True, sequence=False)
    frames = received(pair, plan, 2000)
    assert len(frames) == 2000
    times = [
        stamp.sent_low | stamp.sent_high << 32 for stamp in (Stamp.from_buffer_copy(f[42:]) for f in frames)
    ]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    pauses = sorted(gaps[49::50])
    assert pauses[len(pauses) // 2] == pytest.approx(5e6, rel=0.2)
    within = sorted(gap for index, gap in enumerate(gaps) if index % 50 != 49)
    assert within[len(within) // 2] < 5_000


def test_a_rate_beyond_reach_sends_what_it_can_and_says_so(pair: Topology) -> None:
    sent, report = checked(pair, TrafficPlan(PACKET, count=200_000, rate_pps=1e9, stamp=True))
    assert sent.sent == 200_000
    assert sent.rate_error is not None
    assert sent.rate_error < -0.9
    assert report.perfect, report


@pytest.mark.parametrize("engine", ENGINES)
def test_a_duration_ends_it(pair: Topology, engine: str) -> None:
    began = time.monotonic()
    sent, report = checked(
        pair, TrafficPlan(PACKET, duration_s=0.3, rate_pps=2000, stamp=True), engine, urgent=True
    )
    assert (
        100 < sent.sent <= 601
    )  # a busy machine may let frames' times pass, and none is sent before its own
    assert (sent.ended, sent.complete) == ("duration", True)
    assert time.monotonic() - began < 5.0
    assert report.total.received == sent.sent


def test_as_fast_as_it_goes_for_a_time_is_ended_at_that_time(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, duration_s=0.2, stamp=True)
    sent, report = checked(pair, plan)
    assert sent.ended == "duration"
    assert 0.19e9 < sent.duration_ns < 2e9
    assert sent.sent > 100_000
    assert report.total.received + report.lost_frames == sent.sent


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rate", [None, 20])
def test_ctrl_c_ends_it_at_once_and_the_report_is_honest(
    pair: Topology, engine: str, rate: int | None
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    plan = TrafficPlan(PACKET, count=2**31, rate_pps=rate, stamp=True)
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, expected=None, sequences=1 << 22)) as sink:
        began = time.monotonic()
        timer.start()
        sent = send(plan, pair["gen"], "gen0", engine)
        took = time.monotonic() - began
        sink.wait(sent.sent)
        report = sink.report()
    assert took < 2
    assert sent.interrupted
    assert not sent.complete
    # the frame in hand when the signal came may have gone out uncounted
    assert 0 < sent.sent <= report.total.received <= sent.sent + (64 if engine == "socket" else 1)


def test_a_question_stops_it(pair: Topology) -> None:
    told: list[int] = []
    plan = TrafficPlan(PACKET, count=2**31, rate_pps=1000, stamp=True)
    sent = send(plan, pair["gen"], "gen0", progress=told.append, stop=lambda: len(told) >= 3)
    assert sent.ended == "stopped"
    assert told == sorted(told)
    assert told[0] > 0


def test_a_device_that_disappears_ends_it_with_what_was_sent(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, count=2**31, rate_pps=100_000, stamp=True)
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, expected=None)) as sink:
        timer = threading.Timer(0.3, pair.pairs[0].close)
        timer.start()
        began = time.monotonic()
        sent = send(plan, pair["gen"], "gen0")
        took = time.monotonic() - began
        timer.join()
        report = sink.report()
    assert (sent.ended, sent.complete, sent.refused) == ("device disappeared", False, None)
    assert took < 5
    # those that were under way when it went are lost
    assert 0.5 * sent.sent < report.total.received <= sent.sent


def test_a_peer_that_takes_no_redirected_frames_is_told(pair: Topology) -> None:
    sent = send(TrafficPlan(PACKET, count=100, stamp=True), pair["gen"], "gen0")
    assert (sent.sent, sent.refused) == (100, 100)


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


def frames_of(plan: TrafficPlan) -> list[bytes]:
    forge = Forge(plan)
    return [forge.frame(index, time.monotonic_ns()) for index in range(plan.frames)]


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


def test_ipv6_through_the_real_stack() -> None:
    ends = [PAIR.end("gen0"), PAIR.end("dut0")]
    import dataclasses

    link = dataclasses.replace(
        PAIR.links[0],
        a=dataclasses.replace(ends[0], addresses=("fd00::1/64",)),
        b=dataclasses.replace(ends[1], addresses=("fd00::2/64",)),
    )
    spec = dataclasses.replace(
        PAIR, nodes=(NodeSpec("gen", ipv6=True), NodeSpec("dut", ipv6=True)), links=(link,)
    )
    packet = ETHER / V6 / UDP(sport=1000, dport=4242) / payload(100)
    plan = TrafficPlan(packet, count=2000, stamp=True, vary=(Vary.parse("udp.sport=1-50"),), rate_pps=50_000)
    with Topology.build(spec) as pair:
        for engine in ENGINES:
            with pair["dut"].socket(socket.AF_INET6, socket.SOCK_DGRAM) as taker:
                taker.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
                taker.bind(("::", 4242))
                taker.settimeout(1)
                changed = plan.replace(vary=(Vary.parse("udp.sport=2000-2049"),))
                _, report = checked(pair, changed, engine, action="pass")
                assert report.perfect, (engine, report)
                for index in range(2000):
                    data, address = taker.recvfrom(200)
                    assert Stamp.from_buffer_copy(data).sequence == index
                    assert address[1] == 2000 + index % 50


@pytest.mark.parametrize("engine", ["scapy", "xdp"])
def test_what_cannot_be_sent_is_refused_before_anything_is(pair: Topology, engine: str) -> None:
    long = ETHER / V4 / UDP() / payload(1500)
    with pytest.raises(InputError, match=r"1542 bytes does not fit gen/gen0 with MTU 1500"):
        send(TrafficPlan([PACKET, long], stamp=True), pair["gen"], "gen0", engine)
    with pytest.raises(InputError, match=r"no interface 'gen7'"):
        send(TrafficPlan(PACKET), pair["gen"], "gen7", engine)


def test_what_an_engine_cannot_do_is_said(pair: Topology) -> None:
    with pytest.raises(InputError, match=r"unknown engine 'dpdk'; there are scapy, socket, xdp"):
        send(TrafficPlan(PACKET), pair["gen"], "gen0", "dpdk")
    with pytest.raises(InputError, match=r"ip\.src cannot vary with the socket engine"):
        send(TrafficPlan(PACKET, vary=(Vary.parse("ip.src=1.1.1.1-1.1.1.2"),)), pair["gen"], "gen0", "socket")
    with pytest.raises(InputError, match="packet 2 is no UDP datagram"):
        send(TrafficPlan([PACKET, ETHER / V4]), pair["gen"], "gen0", "socket")
    with pytest.raises(InputError, match="CPU 99 is not ours"):
        send(TrafficPlan(PACKET), pair["gen"], "gen0", cpu=99)
    with pytest.raises(InputError, match="at least one a minute"):
        send(TrafficPlan(PACKET, rate_pps=0.001), pair["gen"], "gen0")
    with pytest.raises(KernelError, match=r"another XDP program|EBUSY"), Sink(pair["dut"], "dut0"):
        Sink(pair["dut"], "dut0")
