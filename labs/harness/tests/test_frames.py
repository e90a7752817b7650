# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Stamps: the number is where it should be, and scapy agrees with every checksum."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6EchoRequest, IPv6, Raw
from scapy.layers.inet import IPOption_Router_Alert, fragment
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN

from labs.harness.frames import MAGIC, Template, layout, read_sequence
from xdp.pyxdp.errors import InputError

ETH = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.168.1.10", dst="192.168.1.20")
V6 = IPv6(src="fd00::10", dst="fd00::20")
PAYLOAD = Raw(bytes(range(30)))

STAMPED = {
    "IPv4": ETH / V4 / UDP(sport=1, dport=4242) / PAYLOAD,
    "IPv6": ETH / V6 / UDP(sport=1, dport=4242) / PAYLOAD,
    "VLAN": ETH / Dot1Q(vlan=5) / V4 / UDP() / PAYLOAD,
    "two VLANs": ETH / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V6 / UDP() / PAYLOAD,
    "IP options": ETH / IP(dst="1.2.3.4", options=[IPOption_Router_Alert()]) / UDP() / PAYLOAD,
    "IPv6 options": ETH / V6 / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"abcd")]) / UDP() / PAYLOAD,
    "TCP": ETH / V4 / TCP(options=[("MSS", 1400)]) / PAYLOAD,
    "ping": ETH / V4 / ICMP(id=7) / PAYLOAD,
    "ping6": ETH / V6 / ICMPv6EchoRequest(id=7, data=bytes(30)),
    "odd length": ETH / V4 / UDP() / Raw(bytes(31)),
}


def rebuilt(frame: bytes) -> bytes:
    """The same frame, all checksums made anew by scapy."""
    packet = Ether(frame)
    layer: Any = packet
    while layer:
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)  # and not from .fields: scapy would give back the bytes that it has kept
        layer = layer.payload
    return bytes(packet)


@pytest.mark.parametrize("name", STAMPED)
@pytest.mark.parametrize("number", [0, 1, 255, 0xFFFF, 0x10000, 123_456_789, 0xFFFFFFFF])
@pytest.mark.parametrize("offset", [0, 2, 3, 9])
def test_scapy_agrees_with_the_checksum_of_every_stamped_frame(name: str, number: int, offset: int) -> None:
    frame = bytes(Template(bytes(STAMPED[name]), offset).stamp(number))
    assert rebuilt(frame) == frame
    where = layout(frame)
    assert where.protocol is not None
    assert frame[: where.payload - 20] == bytes(STAMPED[name])[: where.payload - 20]
    assert read_sequence(frame[where.payload : where.end], offset) == number


@given(st.integers(0, 2**32 - 1), st.binary(min_size=8, max_size=64), st.integers(0, 65535))
@settings(max_examples=200)
def test_any_payload_and_any_number_give_a_right_checksum(number: int, payload: bytes, port: int) -> None:
    template = Template(bytes(ETH / V4 / UDP(sport=port, dport=4242) / Raw(payload)))
    template.stamp(number ^ 0xFFFFFFFF)  # nothing of the number before may remain
    frame = bytes(template.stamp(number))
    assert rebuilt(frame) == frame
    assert frame[-len(payload) :][8:] == payload[8:]


def test_a_udp_checksum_of_zero_becomes_all_ones() -> None:
    """Over all ports one sum must come out as zero, which UDP would read as "no checksum"."""
    found = 0
    template = Template(bytes(ETH / V4 / UDP(sport=0, dport=0) / Raw(bytes(8))))
    for number in range(0x10000):
        found += template.stamp(number)[40:42] == b"\xff\xff"
        assert template.buffer[40:42] != b"\0\0"
    assert found == 1


def test_no_checksum_stays_no_checksum() -> None:
    frame = Template(bytes(ETH / V4 / UDP(chksum=0) / PAYLOAD)).stamp(99)
    assert frame[40:42] == b"\0\0"


def test_our_check_of_checksums_finds_a_wrong_one() -> None:
    frame = bytearray(bytes(STAMPED["IPv4"]))
    frame[41] ^= 1
    assert rebuilt(bytes(frame)) != bytes(frame)


def test_only_stamp_and_checksum_change() -> None:
    before = bytes(STAMPED["IPv4"])
    after = bytes(Template(before).stamp(0x01020304))
    changed = {index for index in range(len(before)) if before[index] != after[index]}
    assert changed <= {40, 41, *range(42, 50)}
    assert after[42:50] == MAGIC + b"\1\2\3\4"


def test_ethernet_padding_is_not_payload() -> None:
    frame = bytes(ETH / V4 / UDP() / Raw(b"12345678")) + bytes(10)
    assert (layout(frame).payload, layout(frame).end) == (42, 50)
    assert rebuilt(bytes(Template(frame).stamp(5))) == bytes(Template(frame).stamp(5))


def test_a_payload_without_room_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"payload of 7 bytes has no room .* at 0: it needs 8; add Raw"):
        Template(bytes(ETH / V4 / UDP() / Raw(bytes(7))))
    with pytest.raises(InputError, match="at 23"):
        Template(bytes(STAMPED["IPv4"]), 23)


@pytest.mark.parametrize(
    "packet",
    [ETH / ARP(), ETH / V4, *fragment(ETH / V4 / UDP() / Raw(bytes(100)), 64), ETH / IP(proto=253) / PAYLOAD],
)
def test_what_has_no_transport_that_we_know_has_no_protocol(packet: Any) -> None:
    assert layout(bytes(packet)).protocol is None


@given(st.binary(max_size=80))
def test_no_bytes_at_all_upset_the_parser(data: bytes) -> None:
    where = layout(data)
    assert 0 <= where.payload <= max(where.end, where.payload) <= max(len(data), 14)


@given(st.sampled_from(sorted(STAMPED)), st.data())
def test_a_frame_that_is_cut_anywhere_does_not_upset_the_parser(name: str, data: st.DataObject) -> None:
    frame = bytes(STAMPED[name])
    size = data.draw(st.integers(0, len(frame)))
    where = layout(frame[:size])
    assert where.end <= size
