# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A packet is described by what is in it, and never by an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from labs.harness.why.parts import Frame
from labs.harness.why.sample import describe, untagged, with_port

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="10.0.0.1", dst="10.0.0.2")
LONG = fragment(V4 / UDP(dport=9) / bytes(100), 64)


def described(packet: Packet | bytes) -> Frame:
    data = bytes(packet)
    return describe(data, at="gen0", incoming=False, length=len(data))


@pytest.mark.parametrize(
    ("packet", "text", "vlans"),
    [
        (ETHER / V4 / UDP(sport=1, dport=2), "UDP 10.0.0.1:1 → 10.0.0.2:2", ()),
        (
            ETHER / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x94\4\0\0") / TCP(sport=1, dport=2),
            "TCP 10.0.0.1:1 → 10.0.0.2:2",
            (),
        ),
        (ETHER / V4 / ICMP(), "ICMP 10.0.0.1 → 10.0.0.2", ()),
        (
            ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2),
            "UDP fd00::1 port 1 → fd00::2 port 2",
            (),
        ),
        (ETHER / ARP(), "ARP", ()),
        (
            ETHER / Dot1Q(vlan=7) / Dot1Q(vlan=8) / V4 / UDP(sport=1, dport=2),
            "UDP 10.0.0.1:1 → 10.0.0.2:2",
            (7, 8),
        ),
        (ETHER / LONG[0], "fragment of UDP 10.0.0.1:53 → 10.0.0.2:9", ()),
        (ETHER / LONG[-1], "fragment of UDP 10.0.0.1 → 10.0.0.2", ()),
        (Ether(type=0x88B5) / bytes(46), "EtherType 0x88b5", ()),
    ],
)
def test_what_is_in_it(packet: Packet, text: str, vlans: tuple[int, ...]) -> None:
    found = described(packet)
    assert (found.text, found.vlans) == (text, vlans)


def test_addresses_are_those_of_the_ethernet_header() -> None:
    found = described(ETHER / V4)
    assert (found.source, found.destination) == ("02:00:00:00:00:01", "02:00:00:00:00:02")


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    described(data)
    untagged(data)
    assert len(with_port(data, 9)) == len(data)


def test_without_its_tags_a_packet_is_what_it_was() -> None:
    plain = ETHER / V4 / UDP(sport=1, dport=2) / b"x"
    tagged = ETHER / Dot1Q(vlan=7) / Dot1Q(vlan=8) / V4 / UDP(sport=1, dport=2) / b"x"
    assert untagged(bytes(tagged)) == bytes(plain)
    assert untagged(bytes(plain)) == bytes(plain)


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_the_port_is_changed_and_nothing_else(tags: int) -> None:
    packet = ETHER
    for _ in range(tags):
        packet = packet / Dot1Q(vlan=7)
    one, other = (bytes(packet / V4 / UDP(sport=1, dport=port, chksum=5) / b"x") for port in (2, 700))
    assert with_port(one, 700) == other


def test_a_packet_without_ports_stays_as_it_is() -> None:
    for packet in (ETHER / ARP(), ETHER / V4 / ICMP(), ETHER / LONG[-1]):
        assert with_port(bytes(packet), 9) == bytes(packet)
