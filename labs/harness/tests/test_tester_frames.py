# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""On a real veth: exactly the asked frames, as Python would make them; those that cannot be are refused."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.all import UDP, Dot1Q, Ether, Raw

from labs.harness.sink import Sink
from labs.harness.tests.tester_tools import BIG, ETHER, PACKET, V4, V6, chance, checked, payload, received
from labs.harness.topology import PAIR, NodeSpec, Topology
from labs.harness.traffic import ENGINES, TrafficPlan, Vary, send
from labs.harness.traffic.forge import Forge
from labs.harness.traffic.layout import Stamp
from xdp.pyxdp.errors import InputError, KernelError

pytestmark = pytest.mark.system


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
