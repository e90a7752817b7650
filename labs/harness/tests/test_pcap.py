# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Captures are read whole and in order, or the file is named with what is wrong with it."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, UDP, Dot1Q, Ether, IPv6, Raw, wrpcap, wrpcapng

from labs.harness.traffic.pcap import read_frames
from xdp.pyxdp.errors import InputError

PACKET = Ether() / IP() / UDP() / Raw(bytes(18))
PACKETS = [PACKET, Ether() / Dot1Q(vlan=5) / IP() / UDP() / Raw(b"x" * 33), Ether() / IPv6() / UDP()]
ETHERNET, LINUX_COOKED = 1, 113


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng, padded to four bytes."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = ETHERNET, snap: int = 0, order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap), order)


def enhanced(data: bytes, number: int = 0, wire: int | None = None, order: str = "<") -> bytes:
    wire = len(data) if wire is None else wire
    return block(6, struct.pack(order + "5I", number, 0, 0, len(data), wire) + padded(data), order)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def simple(data: bytes, wire: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if wire is None else wire) + data, order)


def written(path: Path, *blocks: bytes) -> Path:
    path.write_bytes(b"".join(blocks))
    return path


@pytest.mark.parametrize("write", [wrpcap, wrpcapng], ids=["pcap", "pcapng"])
def test_a_capture_is_read_whole_and_in_order(write: object, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert callable(write)
    write(str(path), PACKETS)
    assert read_frames(path) == [bytes(packet) for packet in PACKETS]


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_kinds_of_packet_blocks_are_read_in_both_byte_orders(order: str, tmp_path: Path) -> None:
    a, b, c = b"first" * 13, b"second" * 10, b"third" * 20
    old = block(2, struct.pack(order + "HHIIII", 0, 0, 0, 0, len(c), len(c)) + c, order)
    statistics = block(5, bytes(12), order)
    path = written(
        tmp_path / "x",
        *(section(order), interface(order=order), enhanced(a, order=order), statistics),
        *(simple(b, order=order), old),
    )
    assert read_frames(path) == [a, b, c]


def test_a_section_has_interfaces_and_a_byte_order_of_its_own(tmp_path: Path) -> None:
    cooked_first = (section("<"), interface(ETHERNET), interface(LINUX_COOKED), enhanced(bytes(60)))
    second = (section(">"), interface(order=">"), enhanced(b"b" * 64, order=">"))
    path = written(tmp_path / "x", *cooked_first, *second)
    assert read_frames(path) == [bytes(60), b"b" * 64], "the cooked interface has no packets"
    path = written(tmp_path / "x", section(), interface(), section(), enhanced(bytes(60)))
    with pytest.raises(InputError, match="packet 1 is of interface 0, which it does not describe"):
        read_frames(path)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([section()[:10]], "x is truncated: it ends within the block at byte 0$"),
        ([section()[:-1]], "x is truncated: it ends within the block at byte 0$"),
        ([section()], "x holds no packets$"),
        ([section(), interface()], "x holds no packets$"),
        (
            [section(), interface(), enhanced(bytes(60))[:-5]],
            "truncated: it ends within the block at byte 48$",
        ),
        ([section(), interface(LINUX_COOKED), enhanced(bytes(60))], "link type 113; only Ethernet"),
        ([section(), interface(), enhanced(bytes(60), wire=99)], "of packet 1 only 60 of 99 bytes"),
        ([section(), interface(snap=40), simple(bytes(40), wire=99)], "of packet 1 only 40 of 99 bytes"),
        ([section(), interface(), simple(bytes(40), wire=99)], "damaged.*packet 1 is longer than its block"),
        ([section(), interface(), block(6, bytes(8))], "damaged.*too short for what it holds"),
        ([section(), interface(), bytes(12)], "damaged.*a block of 0 bytes at byte 48"),
        ([section()[:8] + bytes(20)], "damaged.*a section without byte order"),
        ([section(), interface()[:-4] + b"\x18\0\0\0"], "damaged.*the block at byte 28 has two lengths"),
    ],
)
def test_a_pcapng_file_that_cannot_be_sent_is_told_why(
    blocks: list[bytes], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "x", *blocks)
    with pytest.raises(InputError, match=message):
        read_frames(path)


@given(st.binary(max_size=200), st.integers(0, 120))
def test_any_bytes_are_read_or_refused_in_a_sentence(noise: bytes, at: int) -> None:
    """Also a file that begins well: nothing but an InputError comes of it."""
    good = section() + interface() + enhanced(bytes(60))
    with tempfile.NamedTemporaryFile() as file:
        for data in (b"\x0a\x0d\x0d\x0a" + noise, good[:at] + noise, b"\xd4\xc3\xb2\xa1" + noise):
            Path(file.name).write_bytes(data)
            with contextlib.suppress(InputError):
                read_frames(file.name)


def test_a_capture_that_cannot_be_sent_is_told_why(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.pcap", tmp_path / "whole.pcap"
    wrpcap(str(whole), [PACKET, PACKET])
    data = whole.read_bytes()
    cut = struct.pack("<II", 10, 60)
    for content, message in (
        (b"", "is empty"),
        (b"GIF89a" * 10, "no pcap file"),
        (data[:20], "ends within the file header"),
        (data[:24], "holds no packets"),
        (data[:30], "within the header of packet 1"),
        (data[:-1], "ends within packet 2"),
        (data[:20] + struct.pack("<I", 113) + data[24:], "link type 113; only Ethernet"),
        (data[:32] + cut + data[40:50], "only 10 of 60 bytes were captured"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_frames(path)
    with pytest.raises(InputError, match="No such file"):
        read_frames(tmp_path / "nowhere.pcap")
