# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The tester keeps its times on a real veth: rates, bursts, durations; and ends at once, and honestly."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest
from scapy.all import UDP

from labs.harness.sink import Sink, SinkSpec
from labs.harness.tests.tester_tools import ETHER, PACKET, V4, checked, once, payload, received
from labs.harness.topology import Topology
from labs.harness.traffic import ENGINES, TrafficPlan, TrafficReport, send
from labs.harness.traffic.layout import Stamp

pytestmark = pytest.mark.system


def assert_on_time(sent: TrafficReport, plan_s: float) -> None:
    """The last frame went at its own time: that of the plan, put off and late by what is reported of it."""
    assert sent.late_ns is not None
    assert sent.given_up_ns is not None
    behind_ns = sent.duration_ns - sent.given_up_ns - plan_s * 1e9
    assert -0.001e9 < behind_ns < sent.late_ns + 0.001e9, sent


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


@pytest.mark.parametrize("rate", [10_000, 100_000, 500_000])
def test_the_rate_is_kept_and_never_exceeded(pair: Topology, rate: int) -> None:
    sent, report = checked(pair, TrafficPlan(PACKET, count=rate // 2, rate_pps=rate, stamp=True), urgent=True)
    # How close it comes is for `make bench-tester`: a busy machine may slow it down, nothing speeds it up.
    assert sent.rate_error is not None
    assert sent.rate_error < 0.005
    assert_on_time(sent, (rate // 2 - 1) / rate)
    assert report.perfect, report


def test_bits_a_second_count_the_length_of_each_frame(pair: Topology) -> None:
    packets = [PACKET, ETHER / V4 / UDP() / payload(1472)]
    plan = TrafficPlan(packets, count=20_000, rate_bps=200e6, stamp=True)
    sent, _ = checked(pair, plan, urgent=True)
    assert sent.rate_bps < 200e6 * 1.005
    assert_on_time(sent, 8 * (sent.bytes - len(packets[-1])) / 200e6)


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
    assert time.monotonic() - began < 30
    assert report.total.received == sent.sent


def test_as_fast_as_it_goes_for_a_time_is_ended_at_that_time(pair: Topology) -> None:
    plan = TrafficPlan(PACKET, duration_s=0.2, stamp=True)
    sent, report = checked(pair, plan)
    assert sent.ended == "duration"
    assert 0 < sent.duration_ns < 0.2e9  # to the last frame: a busy machine may have stopped it before
    assert sent.sent > 1_000  # some hundred thousand, if nothing else runs
    assert report.total.received + report.lost_frames == sent.sent


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rate", [None, 20])
def test_ctrl_c_ends_it_at_once_and_the_report_is_honest(
    pair: Topology, engine: str, rate: int | None
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    plan = TrafficPlan(PACKET, count=2**31, rate_pps=rate, stamp=True)
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, expected=None, sequences=1 << 22)) as sink:
        ctrl_c = once(lambda: sink.wait(1, 5.0), lambda: signal.pthread_kill(main, signal.SIGINT))
        began = time.monotonic()
        sent = send(plan, pair["gen"], "gen0", engine)
        took = time.monotonic() - began
        ctrl_c.join()
        sink.wait(sent.sent)
        report = sink.report()
    assert took < 10
    assert sent.interrupted
    assert not sent.complete
    # the frame in hand when the signal came may have gone out uncounted
    assert report.total.received > 0
    assert sent.sent <= report.total.received <= sent.sent + (64 if engine == "socket" else 1)


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
        gone = once(lambda: sink.wait(1000, 5.0), pair.pairs[0].close)
        began = time.monotonic()
        sent = send(plan, pair["gen"], "gen0")
        took = time.monotonic() - began
        gone.join()
        report = sink.report()
    assert (sent.ended, sent.complete, sent.refused) == ("device disappeared", False, None)
    assert took < 30
    # What came before it went came whole; how much goes into a device that is going is the kernel's affair.
    assert 0 < report.total.received <= sent.sent
    assert report.last_sequence == report.total.received - 1


def test_a_peer_that_takes_no_redirected_frames_is_told(pair: Topology) -> None:
    sent = send(TrafficPlan(PACKET, count=100, stamp=True), pair["gen"], "gen0")
    assert (sent.sent, sent.refused) == (100, 100)
