# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Captures: complete, in order, with direction and VLAN tags, and honest about drops."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from scapy.all import ARP, IP, UDP, Dot1AD, Dot1Q, Ether, Raw, rdpcap

from labs.harness.capture import Capture
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan
from xdp.pyxdp.errors import InputError, KernelError

GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETH = Ether(src=GEN.mac, dst=DUT.mac)
PACKET = ETH / IP(src=GEN.ip, dst=DUT.ip) / UDP(sport=1000, dport=4242) / Raw(bytes(18))


def send(pair: Topology, packets: object, count: int | None = None) -> Traffic:
    traffic = Traffic(TrafficPlan(packets, count=count))
    traffic.send(pair["gen"], "gen0")
    return traffic


@pytest.mark.system
def test_every_frame_is_seen_once_at_both_ends_in_order(pair: Topology) -> None:
    with (
        Capture(pair["gen"], "gen0", direction="out") as out,
        Capture(pair["dut"], "dut0", direction="in") as seen,
    ):
        traffic = send(pair, PACKET, 5000)
        frames = [traffic.frame(index) for index in range(5000)]
        assert [frame.data for frame in out.wait_for(5000, 2)] == frames
        assert [frame.data for frame in seen.wait_for(5000, 2)] == frames
        assert out.drops == seen.drops == 0
    times = [frame.time_ns for frame in seen.frames]
    # Wall-clock times, which the system may set back meanwhile: their order is not the frames'.
    assert min(times) > 1_500_000_000 * 10**9
    assert max(times) - min(times) < 60 * 10**9


@pytest.mark.system
def test_directions_are_told_apart(pair: Topology) -> None:
    with (
        Capture(pair["dut"], "dut0") as both,
        Capture(pair["dut"], "dut0", direction="in") as received,
        Capture(pair["dut"], "dut0", direction="out") as sent,
    ):
        send(pair, ETH / ARP(op=1, hwsrc=GEN.mac, psrc=GEN.ip, pdst=DUT.ip))  # the kernel answers
        both.wait_for(2, 2)
    assert [frame.outgoing for frame in both.frames] == [False, True]
    assert [frame.outgoing for frame in received.frames] == [False]
    assert [packet[ARP].op for packet in sent.packets()] == [2]


@pytest.mark.system
def test_vlan_tags_are_where_they_were_on_the_wire(pair: Topology) -> None:
    packets = [
        ETH / Dot1Q(vlan=7, prio=3) / IP() / UDP() / Raw(bytes(18)),
        ETH / Dot1AD(vlan=8) / Dot1Q(vlan=9) / IP() / UDP() / Raw(bytes(18)),
        ETH / ARP(),
    ]
    with (
        Capture(pair["gen"], "gen0", direction="out") as out,
        Capture(pair["dut"], "dut0", direction="in") as seen,
    ):
        traffic = send(pair, packets)
        expected = [traffic.frame(index) for index in range(3)]
        seen.wait_for(3, 2)
        assert [frame.data for frame in out.frames] == expected
        assert [frame.data for frame in seen.frames] == expected


@pytest.mark.system
@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_a_written_capture_reads_back_the_same(pair: Topology, tmp_path: Path, name: str) -> None:
    with Capture(pair["dut"], "dut0", direction="in") as capture:
        send(pair, PACKET, 3)
        capture.wait_for(3, 2)
    read = rdpcap(str(capture.write(tmp_path / name)))
    assert [bytes(packet) for packet in read] == [frame.data for frame in capture.frames]
    assert float(read[0].time) == pytest.approx(capture.frames[0].time_ns / 1e9, abs=1e-5)


@pytest.mark.system
def test_an_empty_capture_is_a_valid_file(pair: Topology, tmp_path: Path) -> None:
    with Capture(pair["dut"], "dut0") as capture:
        pass
    assert capture.frames == ()
    assert len(rdpcap(str(capture.write(tmp_path / "empty.pcap")))) == 0
    with pytest.raises(InputError, match="cannot be written"):
        capture.write(tmp_path / "no" / "such.pcap")


@pytest.mark.system
def test_only_what_is_wanted_is_kept(pair: Topology) -> None:
    with Capture(
        pair["dut"], "dut0", direction="in", keep=lambda data: data[12:14] == b"\x08\x06"
    ) as capture:
        send(pair, [PACKET, ETH / ARP()], 10)
        capture.wait_for(5, 2)
        assert len(capture.frames) == capture.filtered == 5


@pytest.mark.system
def test_drops_are_counted(pair: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labs.harness.capture.BUFFER_BYTES", 10_000)
    monkeypatch.setattr("labs.harness.capture.BURST_S", 60)
    with Capture(pair["dut"], "dut0", direction="in") as capture:
        capture._stopping.wait(0)
        send(pair, PACKET, 500)
        frames = capture.frames
        assert capture.drops > 0
        assert len(frames) + capture.drops == 500
        capture._stopping.set()  # the thread sleeps long: do not wait for its next burst
        capture._thread = threading.Thread(target=lambda: None)
        capture._thread.start()
        capture._socket.close()


@pytest.mark.system
def test_too_few_frames_are_reported_with_the_last(pair: Topology) -> None:
    with Capture(pair["dut"], "dut0", direction="in") as capture:
        send(pair, PACKET)
        with pytest.raises(TimeoutError, match=r"1 of 2 frames on dut0 after 0\.1 s; the last: 0200c0a80114"):
            capture.wait_for(2, 0.1)


@pytest.mark.system
def test_a_device_that_goes_down_is_reported_by_stop_and_what_came_before_is_kept(pair: Topology) -> None:
    capture = Capture(pair["dut"], "dut0", direction="in")
    send(pair, PACKET)
    capture.wait_for(1, 2)
    with pair["dut"].netlink() as route:
        index = pair["dut"].interface_index("dut0")
        route.link("set", index=index, state="down")
        route.link("set", index=index, state="up")
    pair.pairs[0].await_operational()
    with pytest.raises(KernelError, match="ENETDOWN"):
        capture.stop()
    capture.close()
    assert len(capture.frames) == 1


@pytest.mark.system
def test_an_unknown_interface_or_direction_is_refused(pair: Topology) -> None:
    with pytest.raises(InputError, match="'dut9'"):
        Capture(pair["dut"], "dut9")
    with pytest.raises(InputError, match="'in', 'out' or 'both'"):
        Capture(pair["dut"], "dut0", direction="up")  # type: ignore[arg-type]


@pytest.mark.system
def test_closing_leaves_no_descriptor_and_no_thread(pair: Topology) -> None:
    before = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count())
    capture = Capture(pair["dut"], "dut0")
    capture.close()
    capture.close()
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
    assert isinstance(capture._socket, socket.socket)
