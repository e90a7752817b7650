# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames from a capture file, pcap or pcapng, with one clear sentence for each that cannot be sent."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xdp.pyxdp.errors import InputError

from .pcapng import SECTION, PcapNg

LINKTYPE_ETHERNET = 1  # https://www.tcpdump.org/linktypes.html
# magic number as it lies in the file → byte order (times in µs or ns do not matter here)
MAGICS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
}
FILE_HEADER, RECORD_HEADER = 24, 16


class Record(NamedTuple):
    """A packet of a capture: what was kept of it, of how many bytes, and on which kind of link."""

    data: bytes
    original: int
    link_type: int


def read_frames(path: str | Path) -> list[bytes]:
    """All frames of a pcap or pcapng file, in order.

    Raises:
        InputError: no such file, no capture, another link type than Ethernet, truncated, damaged, or empty.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if not data:
        raise InputError(f"{path} is empty: it is no pcap file")
    frames: list[bytes] = []
    packets = PcapNg(path, data).packets() if data[:4] == SECTION else _packets(path, data)
    for number, record in enumerate(map(Record._make, packets), 1):
        if record.link_type != LINKTYPE_ETHERNET:
            raise InputError(f"{path} has link type {record.link_type}; only Ethernet (1) can be sent")
        if len(record.data) < record.original:
            raise InputError(
                f"{path}: of packet {number} only {len(record.data)} of {record.original} bytes were "
                "captured; capture whole packets (tcpdump -s 0)"
            )
        frames.append(record.data)
    if not frames:
        raise InputError(f"{path} holds no packets")
    return frames


def _packets(path: Path, data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Those of a pcap file."""
    order = MAGICS.get(data[:4])
    if order is None:
        raise InputError(f"{path} is no pcap file")
    if len(data) < FILE_HEADER:
        raise InputError(f"{path} is truncated: it ends within the file header")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at, number = FILE_HEADER, 0
    while at < len(data):
        number += 1
        if at + RECORD_HEADER > len(data):
            raise InputError(f"{path} is truncated: it ends within the header of packet {number}")
        kept, original = struct.unpack_from(order + "II", data, at + 8)
        at += RECORD_HEADER
        if at + kept > len(data):
            raise InputError(f"{path} is truncated: it ends within packet {number}")
        yield data[at : at + kept], original, link_type
        at += kept
