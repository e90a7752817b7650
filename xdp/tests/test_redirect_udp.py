# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each class of packet is counted where the program says; run in the kernel without a device."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from xdp.program import Program, ProgramSpec
from xdp.pyxdp.run import run

pytestmark = pytest.mark.system
XDP_PASS = 2
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.168.1.10", dst="192.168.1.20")
V6 = IPv6(src="fd00::1", dst="fd00::2")
OURS = UDP(sport=1000, dport=4242) / b"payload"
ALL_OPTIONS = IP(options=b"\x01" * 40, ihl=15)

# An empty XSKMAP: what the program takes for its own is counted as "no_socket" and passed.
CLASSES: list[tuple[str, Packet | bytes, str]] = [
    ("udp", ETHER / V4 / OURS, "no_socket"),
    ("udp to a broadcast address", Ether(dst="ff:ff:ff:ff:ff:ff") / V4 / OURS, "no_socket"),
    ("udp over ipv6", ETHER / V6 / OURS, "no_socket"),
    ("one vlan tag", ETHER / Dot1Q(vlan=5) / V4 / OURS, "no_socket"),
    ("two vlan tags", ETHER / Dot1Q(vlan=5, type=0x88A8) / Dot1Q(vlan=6) / V4 / OURS, "no_socket"),
    ("three vlan tags", ETHER / Dot1Q() / Dot1Q() / Dot1Q() / V4 / OURS, "other_ethertype"),
    ("vlan tag and ipv6", ETHER / Dot1Q(vlan=5) / V6 / OURS, "no_socket"),
    ("ip options", ETHER / IP(options=[IPOption_Router_Alert()]) / OURS, "no_socket"),
    ("all 40 bytes of ip options", ETHER / ALL_OPTIONS / OURS, "no_socket"),
    ("ipv6 options", ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / OURS, "no_socket"),
    ("another port", ETHER / V4 / UDP(dport=4243) / b"x", "other_port"),
    ("our port as source only", ETHER / V4 / UDP(sport=4242, dport=53) / b"x", "other_port"),
    ("first fragment", ETHER / IP(flags="MF") / OURS, "fragment"),
    ("last fragment", ETHER / IP(frag=100, proto=17) / Raw(b"x" * 64), "fragment"),
    ("do not fragment", ETHER / IP(flags="DF") / OURS, "no_socket"),
    ("ipv6 fragment", ETHER / V6 / IPv6ExtHdrFragment(nh=17, m=1) / OURS, "fragment"),
    ("icmp", ETHER / V4 / ICMP(), "icmp"),
    ("icmpv6", ETHER / IPv6(nh=58) / Raw(b"\x80\0\0\0\0\0\0\0"), "icmp"),
    ("tcp to our port", ETHER / V4 / TCP(dport=4242), "other_protocol"),
    ("arp", ETHER / ARP(), "arp"),
    ("lldp", Ether(type=0x88CC) / Raw(b"x" * 50), "other_ethertype"),
    ("ends in the ip header", bytes(ETHER / V4 / OURS)[:30], "truncated"),
    ("ends in the udp header", bytes(ETHER / V4 / OURS)[:40], "truncated"),
    ("ends in the ip options", bytes(ETHER / ALL_OPTIONS / OURS)[:60], "truncated"),
    ("header length below 5", ETHER / IP(ihl=4) / OURS, "truncated"),
]


@pytest.mark.parametrize(("packet", "counter"), [c[1:] for c in CLASSES], ids=[c[0] for c in CLASSES])
def test_each_class_is_passed_and_counted_once_where_documented(packet: Packet | bytes, counter: str) -> None:
    with Program.load(ProgramSpec("redirect_udp")) as program:
        for _ in range(3):
            assert run(program.fd, bytes(packet)).value == XDP_PASS
        counted = {name: packets for name, packets in program.counters().items() if packets}
    assert counted == {counter: 3}


def test_the_port_is_taken_from_the_spec() -> None:
    with Program.load(ProgramSpec("redirect_udp", rodata={"udp_port": 53})) as program:
        run(program.fd, bytes(ETHER / V4 / UDP(dport=53) / b"x"))
        run(program.fd, bytes(ETHER / V4 / OURS))
        counters = program.counters()
    assert (counters["no_socket"], counters["other_port"]) == (1, 1)


def test_no_prefix_of_any_packet_is_lost_or_counted_twice() -> None:
    with Program.load(ProgramSpec("redirect_udp")) as program:
        runs = 0
        for _, packet, _ in CLASSES:
            raw = bytes(packet)
            for length in range(14, len(raw)):
                assert run(program.fd, raw[:length]).value == XDP_PASS
                runs += 1
        assert sum(program.counters().values()) == runs
