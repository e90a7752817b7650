# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The suite's frames: each carries its number, and all the rest of it follows from that."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ETHERTYPE = 0x88B5  # SUITE_ETHERTYPE, conform.bpf.h
HEADER = 14
UDP_HEADERS = 42  # Ethernet, IPv4, UDP
UDP_PORT = 4242  # SUITE_UDP_PORT, conform.bpf.h
UDP_SOURCE_PORT = 40000
ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2])  # source and destination, for documentation: RFC 5737
SMALLEST = 60  # an Ethernet frame without its check sequence; a device would make shorter ones longer
LARGEST = 1514  # with the MTU of 1,500
JUMBO_MTU = 9000


def frame(number: int, size: int = SMALLEST, *, to: bytes, source: bytes) -> bytes:
    """A frame of `size` bytes: header, number, and bytes that differ from those of any near number."""
    body: npt.NDArray[Any] = (np.arange(size - HEADER - 4, dtype=np.uint32) * 7 + number * 131) & 0xFF
    head = struct.pack("!6s6sHI", to, source, ETHERTYPE, number)
    rest: bytes = body.astype(np.uint8).tobytes()
    return head + rest


def udp_frame(number: int, size: int = SMALLEST, *, to: bytes, source: bytes) -> bytes:
    """A frame of `size` bytes with an IPv4 datagram, whose payload is that of `frame`."""
    payload = frame(number, size - UDP_HEADERS + HEADER, to=to, source=source)[HEADER:]
    datagram = struct.pack("!HHHH", UDP_SOURCE_PORT, UDP_PORT, 8 + len(payload), 0)  # 0: no checksum, RFC 768
    fields = (0x45, 0, 20 + 8 + len(payload), 0, 0, 64, 17)
    header = struct.pack("!BBHHHBB", *fields) + bytes(2) + ADDRESSES
    total: int = sum(struct.unpack("!10H", header))
    checksum = ~(total + (total >> 16)) & 0xFFFF
    header = header[:10] + checksum.to_bytes(2, "big") + header[12:]
    return to + source + b"\x08\x00" + header + datagram + payload


def number_of(data: bytes) -> int | None:
    """The number in a frame of the suite, None for any other."""
    if len(data) < HEADER + 4 or data[12:14] != ETHERTYPE.to_bytes(2, "big"):
        return None
    return int.from_bytes(data[HEADER : HEADER + 4], "big")


def sizes(count: int, largest: int = LARGEST) -> list[int]:
    """Sizes from the smallest to the largest, mixed."""
    span = largest - SMALLEST
    return [SMALLEST + (i * 977) % (span + 1) for i in range(count - 1)] + [largest]


def same(got: Sequence[bytes], wanted: Sequence[bytes], who: str) -> None:
    """Asserts that these frames came, in this order, byte for byte, and no others."""
    for place, (have, want) in enumerate(zip(got, wanted, strict=False)):
        if have == want:
            continue
        if number_of(have) != number_of(want):
            raise AssertionError(
                f"{who}: frame {place} has number {number_of(have)}, not {number_of(want)}; "
                f"came: {_ranges(map(number_of, got))}"
            )
        assert len(have) == len(want), f"{who}: frame {place} has {len(have)} bytes, not {len(want)}"
        at = next(i for i, (a, b) in enumerate(zip(have, want, strict=True)) if a != b)
        raise AssertionError(
            f"{who}: frame {place} differs from byte {at} on: {have[at : at + 8].hex()}, "
            f"not {want[at : at + 8].hex()}"
        )
    assert len(got) == len(wanted), f"{who}: {len(got)} frames came, not {len(wanted)}: " + _ranges(
        map(number_of, got)
    )


def _ranges(numbers: Iterable[int | None]) -> str:
    """Numbers in words: "0-3, 7, none"."""
    runs: list[list[int]] = []
    strange = 0
    for number in numbers:
        if number is None:
            strange += 1
        elif runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:20]] + ["…"] * (len(runs) > 20)
    return ", ".join(words + [f"{strange} not of the suite"] * bool(strange)) or "none"
