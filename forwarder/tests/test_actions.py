# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Actions on packets that scapy builds: what scapy recomputes must equal what the action left."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from forwarder import _batch

MAC, OTHER = "02:00:00:00:00:02", "02:00:00:00:00:01"
V4, V4_OTHER = "192.168.1.20", "192.168.1.10"
V6, V6_OTHER = "fd00::2", "fd00::1"
US = {
    "mac": bytes.fromhex(MAC.replace(":", "")),
    "ipv4": ipaddress.ip_address(V4).packed,
    "ipv6": ipaddress.ip_address(V6).packed,
}
ETHER = Ether(src=OTHER, dst=MAC)
TAGS = {"no tag": ETHER, "one tag": ETHER / Dot1Q(vlan=5), "two tags": ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6)}
NETWORKS = {
    "IPv4": IP(src=V4_OTHER, dst=V4),
    "IPv4 with options": IP(src=V4_OTHER, dst=V4, options=[IPOption_Router_Alert()] * 3),
    "IPv6": IPv6(src=V6_OTHER, dst=V6),
    "IPv6 with options": IPv6(src=V6_OTHER, dst=V6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(),
}


def act(packet: Packet | bytes, action: str, **options: bytes) -> tuple[int, bytes]:
    memory = bytearray(bytes(packet))
    return _batch.act(memory, action, **options), bytes(memory)


def with_checksums_again(data: bytes) -> bytes:
    """The packet with every checksum computed afresh by scapy."""
    packet = Ether(data)
    layer = packet
    while layer:
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                delattr(layer, field)
        layer = layer.payload
    return bytes(packet)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("tags", TAGS)
@given(payload=st.binary(max_size=1400), sport=st.integers(0, 65535), dport=st.integers(0, 65535))
@settings(max_examples=25)
def test_echo_swaps_all_addresses_and_keeps_checksums_valid(
    tags: str, network: str, payload: bytes, sport: int, dport: int
) -> None:
    packet = TAGS[tags] / NETWORKS[network].copy() / UDP(sport=sport, dport=dport) / Raw(payload)
    verdict, answer = act(packet, "echo")
    assert verdict == _batch.BACK
    back = Ether(answer)
    assert (back.src, back.dst) == (MAC, OTHER)
    ip = back[IP] if IP in back else back[IPv6]
    assert (ip.src, ip.dst) == ((V4, V4_OTHER) if IP in back else (V6, V6_OTHER))
    assert (back[UDP].sport, back[UDP].dport) == (dport, sport)
    assert answer.endswith(payload)
    assert answer == with_checksums_again(answer)


def test_echo_leaves_a_missing_udp_checksum_missing() -> None:
    _, answer = act(ETHER / NETWORKS["IPv4"] / UDP(chksum=0) / b"x", "echo")
    assert Ether(answer)[UDP].chksum == 0


NOT_ECHOED = {
    "arp": ETHER / ARP(),
    "icmp": ETHER / NETWORKS["IPv4"] / ICMP(),
    "first fragment": ETHER / IP(flags="MF") / UDP() / b"x",
    "later fragment": ETHER / IP(frag=5, proto=17) / Raw(b"x" * 40),
    "ipv6 fragment": ETHER / IPv6() / IPv6ExtHdrFragment(nh=17, m=1) / UDP(),
    "ipv6 routing header": ETHER / IPv6() / IPv6ExtHdrRouting() / UDP(),
    "three tags": ETHER / Dot1Q() / Dot1Q() / Dot1Q() / IP() / UDP(),
    "udp longer than its ip": ETHER / IP() / UDP(len=100) / b"x",
    "udp shorter than its header": ETHER / IP() / UDP(len=7) / b"x",
    "ip longer than the packet": ETHER / IP(len=200) / UDP(),
    "header length below 5": ETHER / IP(ihl=4) / UDP(),
    "wrong version": ETHER / IP(version=6) / UDP(),
    "another ethertype": Ether(type=0x88CC) / Raw(b"x" * 46),
}


@pytest.mark.parametrize("name", NOT_ECHOED)
def test_what_echo_cannot_handle_is_not_matched_and_not_touched(name: str) -> None:
    packet = bytes(NOT_ECHOED[name])
    assert act(packet, "echo") == (_batch.NOT_MATCHED, packet)


@given(
    identifier=st.integers(0, 65535),
    sequence=st.integers(0, 65535),
    payload=st.binary(max_size=1400) | st.integers(0, 100).map(bytes),
)
@settings(max_examples=300)
def test_ping_is_answered_with_a_right_checksum(identifier: int, sequence: int, payload: bytes) -> None:
    packet = ETHER / NETWORKS["IPv4 with options"] / ICMP(id=identifier, seq=sequence) / Raw(payload)
    verdict, answer = act(packet, "respond", **US)
    reply = Ether(answer)
    assert verdict == _batch.BACK
    assert (reply.src, reply.dst, reply[IP].src, reply[IP].dst) == (MAC, OTHER, V4, V4_OTHER)
    assert (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq) == (0, identifier, sequence)
    assert answer.endswith(payload)
    assert answer == with_checksums_again(answer)


def test_echo_reply_of_zeros_only_has_the_other_zero_as_checksum() -> None:
    """RFC 1624: of two zeros only 0xffff verifies where all words are zero."""
    _, answer = act(ETHER / NETWORKS["IPv4"] / ICMP(id=0, seq=0), "respond", **US)
    assert Ether(answer)[ICMP].chksum == 0xFFFF


@pytest.mark.parametrize("tags", TAGS)
@given(payload=st.binary(max_size=1400))
@settings(max_examples=25)
def test_ping_over_ipv6_is_answered(tags: str, payload: bytes) -> None:
    packet = TAGS[tags] / NETWORKS["IPv6"].copy() / ICMPv6EchoRequest(id=1, seq=2, data=payload)
    verdict, answer = act(packet, "respond", **US)
    assert verdict == _batch.BACK
    assert Ether(answer)[ICMPv6EchoReply].data == payload
    assert answer == with_checksums_again(answer)


@pytest.mark.parametrize("tags", TAGS)
def test_arp_request_for_our_address_is_answered(tags: str) -> None:
    question = TAGS[tags].copy() / ARP(op=1, hwsrc=OTHER, psrc=V4_OTHER, pdst=V4)
    question[Ether].dst = "ff:ff:ff:ff:ff:ff"
    verdict, answer = act(question, "respond", **US)
    reply = Ether(answer)
    assert verdict == _batch.BACK
    assert (reply.src, reply.dst) == (MAC, OTHER)
    arp = reply[ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (2, MAC, V4, OTHER, V4_OTHER)


def test_neighbour_solicitation_is_answered() -> None:
    question = (
        Ether(src=OTHER, dst="33:33:ff:00:00:02")
        / IPv6(src=V6_OTHER, dst="ff02::1:ff00:2", hlim=255)
        / ICMPv6ND_NS(tgt=V6)
        / ICMPv6NDOptSrcLLAddr(lladdr=OTHER)
    )
    verdict, answer = act(question, "respond", **US)
    reply = Ether(answer)
    assert verdict == _batch.BACK
    assert (reply.src, reply.dst, reply[IPv6].src, reply[IPv6].dst) == (MAC, OTHER, V6, V6_OTHER)
    assert (reply[ICMPv6ND_NA].tgt, reply[ICMPv6ND_NA].S, reply[ICMPv6ND_NA].O) == (V6, 1, 1)
    assert reply[ICMPv6NDOptDstLLAddr].lladdr == MAC
    assert answer == with_checksums_again(answer)


@pytest.mark.parametrize("network", NETWORKS)
def test_udp_to_us_is_answered(network: str) -> None:
    verdict, answer = act(ETHER / NETWORKS[network] / UDP(sport=7, dport=9) / b"hello", "respond", **US)
    assert verdict == _batch.BACK
    assert (Ether(answer)[UDP].sport, Ether(answer)[UDP].dport) == (9, 7)
    assert answer == with_checksums_again(answer)


NOT_ANSWERED = {
    "arp for another": ETHER / ARP(pdst="192.168.1.21"),
    "arp reply": ETHER / ARP(op=2, pdst=V4),
    "ping of another": ETHER / IP(dst="192.168.1.21") / ICMP(),
    "ping reply": ETHER / IP(dst=V4) / ICMP(type=0),
    "ping with a code": ETHER / IP(dst=V4) / ICMP(code=1),
    "udp to another": ETHER / IP(dst="192.168.1.21") / UDP() / b"x",
    "udp to another over ipv6": ETHER / IPv6(dst="fd00::3") / UDP() / b"x",
    "solicitation of another": ETHER / IPv6(src=V6_OTHER, hlim=255) / ICMPv6ND_NS(tgt="fd00::3"),
    "solicitation from afar": ETHER / IPv6(src=V6_OTHER, hlim=254) / ICMPv6ND_NS(tgt=V6),
    "address detection": ETHER / IPv6(src="::", hlim=255) / ICMPv6ND_NS(tgt=V6),
    "icmp in ipv6": ETHER / IPv6(dst=V6, nh=1) / Raw(bytes(ICMP())),
}


@pytest.mark.parametrize("name", NOT_ANSWERED)
def test_what_is_not_for_us_is_not_answered(name: str) -> None:
    packet = bytes(NOT_ANSWERED[name])
    assert act(packet, "respond", **US) == (_batch.NOT_MATCHED, packet)


def test_forward_rewrites_only_the_addresses_that_are_given() -> None:
    packet = bytes(ETHER / IP() / UDP() / b"x")
    assert act(packet, "forward") == (_batch.FORWARD, packet)
    assert act(packet, "forward", source_mac=b"SOURCE")[1] == packet[:6] + b"SOURCE" + packet[12:]
    assert act(packet, "forward", destination_mac=b"TARGET")[1] == b"TARGET" + packet[6:]


@pytest.mark.parametrize("action", ["echo", "forward", "respond"])
@pytest.mark.parametrize("name", [*NETWORKS, "arp", "solicitation"])
@given(
    cut=st.integers(0, 200), flips=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 255)), max_size=6)
)
@settings(max_examples=60)
def test_truncated_and_damaged_packets_never_reach_beyond_their_end(
    action: str, name: str, cut: int, flips: list[tuple[int, int]]
) -> None:
    whole = {
        "arp": ETHER / ARP(pdst=V4),
        "solicitation": ETHER / IPv6(src=V6_OTHER, hlim=255) / ICMPv6ND_NS(tgt=V6) / ICMPv6NDOptSrcLLAddr(),
    }.get(name) or ETHER / NETWORKS[name].copy() / UDP() / Raw(b"p" * 20)
    packet = bytearray(bytes(whole)[:cut])
    for at, flip in flips:
        if at < len(packet):
            packet[at] ^= flip
    guard = b"\xa5" * 64
    memory = bytearray(guard + packet + guard)
    verdict = _batch.act(
        memoryview(memory)[64 : 64 + len(packet)], action, **US if action == "respond" else {}
    )
    assert memory[:64] == guard
    assert memory[-64:] == guard
    assert verdict in (_batch.DROP, _batch.BACK, _batch.FORWARD, _batch.NOT_MATCHED)
    if verdict == _batch.NOT_MATCHED:
        assert memory[64:-64] == packet


def test_arguments_that_cannot_be_are_refused() -> None:
    packet = bytearray(60)
    with pytest.raises(ValueError, match="unknown action 'eat'"):
        _batch.act(packet, "eat")
    with pytest.raises(ValueError, match="mac must be 6 bytes"):
        _batch.act(packet, "respond", mac=b"short")
    with pytest.raises(ValueError, match="at most 8 addresses of 4 bytes"):
        _batch.act(packet, "respond", ipv4=bytes(36))
    with pytest.raises(TypeError, match="read-write"):
        _batch.act(b"read-only", "echo")
