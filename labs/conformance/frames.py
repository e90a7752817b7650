# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The suite's frames: each carries its number, and all the rest of it follows from that."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

ETHERTYPE = 0x88B5  # SUITE_ETHERTYPE, conform.bpf.h
HEADER = 14
SMALLEST = 60  # an Ethernet frame without its check sequence; a device would make shorter ones longer
LARGEST = 1514  # with the MTU of 1,500
JUMBO_MTU = 9000


def frame(number: int, size: int = SMALLEST, *, to: bytes, source: bytes) -> bytes:
    """A frame of `size` bytes: header, number, and bytes that differ from those of any near number."""
    body = (np.arange(size - HEADER - 4, dtype=np.uint32) * 7 + number * 131) & 0xFF
    return struct.pack("!6s6sHI", to, source, ETHERTYPE, number) + body.astype(np.uint8).tobytes()


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
