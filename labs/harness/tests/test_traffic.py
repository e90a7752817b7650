# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic: exactly the asked count at the asked rate, and a receiver that misses nothing."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether, Raw

from labs.harness.receiver import Receiver, ranges
from labs.harness.tests.tester_tools import once
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport, scapy_engine
from xdp.pyxdp.errors import InputError, KernelError

GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
PACKET = (
    Ether(src=GEN.mac, dst=DUT.mac)
    / IP(src=GEN.ip, dst=DUT.ip)
    / UDP(sport=1000, dport=4242)
    / Raw(bytes(range(18)))
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": -1}, "count -1"),
        ({"rate_pps": 0}, "rate 0"),
        ({"rate_pps": -5}, "rate -5"),
        ({"rate_pps": float("nan")}, "rate nan"),
        ({"first": 2**32}, "they end at"),
        ({"first": 2**32 - 5, "count": 10}, "they end at"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrafficPlan(PACKET, **changes)  # type: ignore[arg-type]


def test_packets_that_cannot_be_built_or_sent_are_refused() -> None:
    with pytest.raises(InputError, match="scapy cannot build"):
        Traffic(TrafficPlan(Ether() / IP(dst="1.2.3.4") / UDP(dport=70000)))
    with pytest.raises(InputError, match="no Ethernet frame"):
        Traffic(TrafficPlan(b"short"))
    with pytest.raises(InputError, match="without packets"):
        Traffic(TrafficPlan([], count=3))


def test_packets_without_room_are_sent_as_they_are_unless_a_number_is_demanded() -> None:
    packets = [PACKET, Ether() / ARP(), Ether() / IP() / ICMP()]
    traffic = Traffic(TrafficPlan(packets))
    assert traffic.frame(1) == bytes(packets[1])
    assert traffic.frame(2) == bytes(packets[2])
    assert traffic.frame(0) != bytes(PACKET)
    assert Traffic(TrafficPlan(PACKET, sequence=False)).frame(0) == bytes(PACKET)
    with pytest.raises(InputError, match="no room"):
        Traffic(TrafficPlan(packets, sequence=True))


def test_numbers_count_frames_across_the_whole_list_from_the_first() -> None:
    traffic = Traffic(TrafficPlan([PACKET, PACKET], count=5, first=1000))
    assert [traffic.frame(index)[46:50] for index in range(5)] == [
        n.to_bytes(4, "big") for n in range(1000, 1005)
    ]
    assert traffic.payload(1003)[4:8] == (1003).to_bytes(4, "big")


def test_the_rate_of_n_frames_is_taken_over_the_gaps_between_them() -> None:
    report = TrafficReport(11, 11, 660, 10_000_000, 1000.0)
    assert report.rate_pps == pytest.approx(1000)
    assert report.rate_error == pytest.approx(0)
    assert TrafficReport(0, 0, 0, 100, None).rate_pps == 0


def test_ranges_join_neighbours() -> None:
    assert ranges({5, 1, 2, 3, 9, 8}) == ((1, 3), (5, 5), (8, 9))
    assert ranges([]) == ()


@pytest.mark.system
def test_ten_thousand_are_received_once_in_order_and_byte_for_byte(pair: Topology) -> None:
    traffic = Traffic(TrafficPlan(PACKET, count=10_000))
    with Receiver(pair["dut"], 4242) as receiver:
        sent = traffic.send(pair["gen"], "gen0")
        received = receiver.drain(10_000, payload=traffic.payload)
    assert (sent.sent, sent.bytes, dict(sent.errors)) == (10_000, 600_000, {})
    assert received.complete, received
    assert received.sources == {"192.168.1.10:1000": 10_000}


@pytest.mark.system
def test_send_zero_receive_zero(pair: Topology) -> None:
    with Receiver(pair["dut"], 4242) as receiver:
        assert Traffic(TrafficPlan(PACKET, count=0)).send(pair["gen"], "gen0").sent == 0
        report = receiver.drain(0)
    assert (report.count, report.complete, report.timed_out) == (0, True, False)


@pytest.mark.system
@pytest.mark.parametrize("rate", [1000, 20_000])
def test_the_asked_rate_is_kept(pair: Topology, rate: int) -> None:
    report = Traffic(TrafficPlan(PACKET, count=rate // 4, rate_pps=rate)).send(pair["gen"], "gen0")
    assert report.sent == rate // 4
    assert report.rate_error is not None
    assert -0.5 < report.rate_error < 0.02  # a busy machine may slow it down, nothing speeds it up


@pytest.mark.system
def test_loss_duplicates_disorder_and_corruption_are_told_apart(pair: Topology) -> None:
    traffic = Traffic(TrafficPlan(PACKET, count=10))
    corrupt = traffic.frame(6)[:-1] + b"\x99"
    order = [traffic.frame(i) for i in (0, 2, 1, 3, 2, 5)] + [corrupt]
    # the checksum of what was corrupted has to be right for the socket to get it
    fixed = Ether(corrupt)
    del fixed[UDP].chksum
    foreign = PACKET.copy()
    foreign[UDP].sport = 7
    order[-1] = bytes(fixed)
    plan = TrafficPlan([*order, bytes(foreign), traffic.frame(9)], sequence=False)
    with Receiver(pair["dut"], 4242) as receiver:
        Traffic(plan).send(pair["gen"], "gen0")
        report = receiver.drain(9, 0.2, payload=traffic.payload)
    assert report.count == 9
    assert (report.unique, report.duplicates, report.reordered) == (6, 1, 1)
    assert (report.corrupt, report.unstamped, report.unexpected) == (1, 1, 1)
    assert report.corrupt_examples[0][0] == 6
    assert report.missing == ((4, 4), (7, 8))
    assert report.lost == 3
    assert report.timed_out
    assert not report.complete
    assert report.sources == {"192.168.1.10:1000": 8, "192.168.1.10:7": 1}


@pytest.mark.system
def test_what_a_full_buffer_drops_is_known(pair: Topology) -> None:
    with Receiver(pair["dut"], 4242) as receiver:
        receiver._socket.setsockopt(socket.SOL_SOCKET, 33, 20_000)
        Traffic(TrafficPlan(PACKET, count=500)).send(pair["gen"], "gen0")
        assert receiver.drops > 0
        before = receiver.drops
        report = receiver.drain(500, 0.1)
        assert report.kernel_drops == 0, "drops before the call are not its own"
        assert before == report.lost > 0


@pytest.mark.system
def test_drops_while_reading_are_reported(pair: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([3, 10])
    monkeypatch.setattr(Receiver, "drops", property(lambda _: next(readings)))
    with Receiver(pair["dut"], 4242) as receiver:
        report = receiver.drain(0)
    assert report.kernel_drops == 7
    assert not report.complete


@pytest.mark.system
def test_nobody_home_is_no_error_but_an_unknown_interface_is(pair: Topology) -> None:
    traffic = Traffic(TrafficPlan(PACKET))
    assert traffic.send(pair["gen"], "gen0").sent == 1
    with pytest.raises(InputError, match=r"'gen7'.*there is lo, gen0"):
        traffic.send(pair["gen"], "gen7")


@pytest.mark.system
def test_a_frame_beyond_the_mtu_is_refused_before_any_is_sent(pair: Topology) -> None:
    big = PACKET.copy()
    big[Raw].load = bytes(1500)
    with pytest.raises(InputError, match="1542 bytes does not fit gen/gen0 with MTU 1500"):
        Traffic(TrafficPlan([PACKET, big])).send(pair["gen"], "gen0")


@pytest.mark.system
def test_a_link_that_is_down_is_a_kernel_error_at_once(
    pair: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only a lack of buffers is worth another try: here a pause before one would be a ValueError.
    monkeypatch.setattr(scapy_engine, "FULL_PAUSE_S", -1.0)
    with pair["gen"].netlink() as route:
        index = pair["gen"].interface_index("gen0")
        route.link("set", index=index, state="down")
        try:
            with pytest.raises(KernelError, match=r"gen/gen0.*ENETDOWN.*after 0 of 1 frames"):
                Traffic(TrafficPlan(PACKET)).send(pair["gen"], "gen0")
        finally:
            route.link("set", index=index, state="up")
    pair.pairs[0].await_operational()


@pytest.mark.system
def test_ctrl_c_ends_it_at_once_and_the_report_is_honest(pair: Topology) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with Receiver(pair["dut"], 4242) as receiver:
        ctrl_c = once(
            lambda: select.select([receiver], [], [], 5), lambda: signal.pthread_kill(main, signal.SIGINT)
        )
        began = time.monotonic()
        report = Traffic(TrafficPlan(PACKET, count=10_000, rate_pps=1000)).send(pair["gen"], "gen0")
        took = time.monotonic() - began
        ctrl_c.join()
        received = receiver.drain(report.sent)
    assert report.interrupted
    assert took < 8
    assert report.sent < 2500
    # the frame in hand when the signal came may have gone out uncounted: at most that one
    assert received.count > 0
    assert report.sent <= received.count <= report.sent + 1


@pytest.mark.system
def test_a_port_that_is_taken_or_none_is_refused(pair: Topology) -> None:
    with Receiver(pair["dut"], 4242), pytest.raises(KernelError, match="EADDRINUSE"):
        Receiver(pair["dut"], 4242)
    for port in (0, 70000):
        with pytest.raises(InputError, match="use 1 to 65535"):
            Receiver(pair["dut"], port)
    with pytest.raises(KernelError, match="EADDRNOTAVAIL"):
        Receiver(pair["dut"], 4242, "10.9.9.9")
