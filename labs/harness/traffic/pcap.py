# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames from a capture file, with one clear sentence for each that cannot be sent."""

from __future__ import annotations

import struct
from pathlib import Path

from xdp.pyxdp.errors import InputError

LINKTYPE_ETHERNET = 1  # https://www.tcpdump.org/linktypes.html
PCAPNG_SECTION = b"\x0a\x0d\x0d\x0a"
# magic number as it lies in the file → byte order (times in µs or ns do not matter here)
MAGICS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
}
FILE_HEADER, RECORD_HEADER = 24, 16


def read_frames(path: str | Path) -> list[bytes]:
    """All frames of a pcap file, in order.

    Raises:
        InputError: no such file, no pcap, another link type than Ethernet, truncated, or empty.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if data[:4] == PCAPNG_SECTION:
        raise InputError(f"{path} is a pcapng file: convert it with editcap -F pcap, or tcpdump -r … -w …")
    order = MAGICS.get(data[:4])
    if order is None:
        raise InputError(f"{path} is no pcap file" if data else f"{path} is empty: it is no pcap file")
    if len(data) < FILE_HEADER:
        raise InputError(f"{path} is truncated: it ends within the file header")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    if link_type != LINKTYPE_ETHERNET:
        raise InputError(f"{path} has link type {link_type}; only Ethernet (1) can be sent")
    frames: list[bytes] = []
    at = FILE_HEADER
    while at < len(data):
        number = len(frames) + 1
        if at + RECORD_HEADER > len(data):
            raise InputError(f"{path} is truncated: it ends within the header of packet {number}")
        kept, original = struct.unpack_from(order + "II", data, at + 8)
        at += RECORD_HEADER
        if at + kept > len(data):
            raise InputError(f"{path} is truncated: it ends within packet {number}")
        if kept < original:
            raise InputError(
                f"{path}: of packet {number} only {kept} of {original} bytes were captured; "
                "capture whole packets (tcpdump -s 0)"
            )
        frames.append(data[at : at + kept])
        at += kept
    if not frames:
        raise InputError(f"{path} holds no packets")
    return frames
