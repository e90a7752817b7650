# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Columns of a batch say what scapy says, and what is rewritten has the checksums that scapy computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from forwarder import checksum
from forwarder.batch import Batch
from forwarder.trial import FRAME_SIZE, as_batch, as_bytes

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.0.2.1", dst="198.51.100.2", ttl=9)
PACKETS: dict[str, Packet] = {
    "UDP": ETHER / V4 / UDP(sport=1000, dport=53) / b"12345",
    "TCP": ETHER / V4 / TCP(sport=1001, dport=80) / b"123456",
    "one tag": ETHER / Dot1Q(vlan=5) / V4 / UDP(sport=1, dport=2),
    "two tags": ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V4 / UDP(sport=3, dport=4) / b"x",
    "options": ETHER
    / IP(src="10.0.0.1", dst="10.0.0.2", options=[IPOption_Router_Alert()] * 3)
    / UDP(dport=7),
    "no UDP checksum": ETHER / V4 / UDP(sport=1000, dport=53, chksum=0) / b"12345",
    "fragment": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", frag=3) / (b"z" * 40),
    "ICMP": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", proto=1) / bytes(8),
    "IPv6": ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(),
    "ARP": ETHER / ARP(),
    "UDP cut off": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", proto=17) / bytes(7),
    "longer than the packet": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", len=200, proto=17) / bytes(8),
    "short": ETHER,
    "nearly IPv4": bytes(ETHER / V4)[:33],
}
DATA = [bytes(packet) for packet in PACKETS.values()]
NAMES = list(PACKETS)


def with_checksums_again(data: bytes) -> bytes:
    packet = Ether(data)
    for layer in (IP, UDP, TCP):
        if layer in packet and (layer is not UDP or packet[UDP].chksum):
            del packet[layer].chksum
    return bytes(packet)


def test_columns_are_the_packets_fields() -> None:
    batch = Batch(*as_batch(DATA))
    ip = batch.ipv4()
    named = {name: row for row, name in enumerate(NAMES)}
    assert [name for name in NAMES if ip.is_ipv4[named[name]]] == [
        "UDP", "TCP", "one tag", "two tags", "options", "no UDP checksum", "fragment", "ICMP", "UDP cut off",
    ]  # fmt: skip
    assert [name for name in NAMES if ip.is_udp[named[name]]] == [
        "UDP", "one tag", "two tags", "options", "no UDP checksum",
    ]  # fmt: skip
    assert [name for name in NAMES if ip.is_tcp[named[name]]] == ["TCP"]
    for name in ("UDP", "TCP", "one tag", "two tags", "options"):
        row, packet = named[name], Ether(DATA[named[name]])
        above = packet[IP].payload
        assert ip.source[row] == int.from_bytes(bytes(map(int, packet[IP].src.split("."))), "big")
        assert ip.destination[row] == int.from_bytes(bytes(map(int, packet[IP].dst.split("."))), "big")
        assert (ip.ttl[row], ip.protocol[row]) == (packet[IP].ttl, packet[IP].proto)
        assert (ip.source_port[row], ip.destination_port[row]) == (above.sport, above.dport)
        assert ip.total_length[row] == packet[IP].len
    assert len(batch) == len(DATA)


@pytest.mark.parametrize("where", [None, "half"])
def test_rewriting_leaves_every_checksum_right_and_all_else_alone(where: str | None) -> None:
    packets, frames = as_batch(DATA)
    batch = Batch(packets, frames)
    ip = batch.ipv4()
    mask = None if where is None else np.arange(len(DATA)) % 2 == 0
    sources = 0x0B000000 + np.arange(len(DATA))
    ip.rewrite(
        source=sources,
        destination=0x0A0A0A0A,
        source_port=7777,
        destination_port=sources & 0xFFFF,
        where=mask,
    )
    for row, (name, after) in enumerate(zip(NAMES, as_bytes(packets, frames), strict=True)):
        chosen = ip.is_ipv4[row] and (mask is None or mask[row])
        if not chosen:
            assert after == DATA[row], name
            continue
        packet = Ether(after)
        assert after == with_checksums_again(after), name
        assert (packet[IP].src, packet[IP].dst) == (f"11.0.0.{row}", "10.10.10.10"), name
        if ip.is_udp[row] or ip.is_tcp[row]:
            assert (packet[IP].payload.sport, packet[IP].payload.dport) == (7777, row), name


def test_macs_are_swapped_and_written() -> None:
    packets, frames = as_batch(DATA)
    batch = Batch(packets, frames)
    batch.swap_macs(where=batch.length > 50)
    batch.set_macs(destination=0x020000000099, where=batch.length <= 50)
    for before, after in zip(DATA, as_bytes(packets, frames), strict=True):
        expected = (
            before[6:12] + before[:6] if len(before) > 50 else bytes.fromhex("020000000099") + before[6:12]
        )
        assert after == expected + before[12:]


def test_packet_at_the_very_end_of_the_umem_is_read_without_harm() -> None:
    packets, frames = as_batch([DATA[0], ETHER.build()], offset=FRAME_SIZE - 60)
    ip = Batch(packets, frames).ipv4()
    assert list(ip.is_ipv4) == [True, False]
    assert list(ip.destination_port[:1]) == [53]


word = st.integers(0, 0xFFFF)


@given(st.lists(word, min_size=2, max_size=8), st.data())
def test_updated_checksum_is_the_one_computed_anew(header: list[int], data: Any) -> None:
    def over(values: list[int]) -> int:
        total = sum(values)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return 0xFFFF - total

    count = data.draw(st.integers(1, len(header)))
    new = data.draw(st.lists(word, min_size=count, max_size=count))
    after = [*new, *header[count:]]
    updated = checksum.replaced(over(header), sum(header[:count]), sum(new), count)
    # RFC 1624, section 3: all words zero is the one case where 0 and 0xffff differ.
    assert updated == over(after) or (not any(after) and updated in (0, 0xFFFF))
    column = np.array([over(header)] * 2, dtype=np.int64)
    assert list(checksum.replaced(column, sum(header[:count]), sum(new), count)) == [updated] * 2
