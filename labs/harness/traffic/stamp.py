# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The tester's stamp in Python: what xdp/src/tester_stamp.bpf.h and tester_sink.bpf.c do in the kernel.

18 bytes at the start of the payload, little-endian: magic, flow, sequence number, send time (CLOCK_MONOTONIC,
48 bits of nanoseconds, whose lowest says whether it is this very frame's) and a check over these and the
payload behind them.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass

from .layout import K_IDENTITY, K_LENGTH, K_ORDER, K_SUM, K_TIME, OWN_TIME, Stamp

STAMP_BYTES = ctypes.sizeof(Stamp)
DEFAULT_MAGIC = 0x4C58  # "XL" as it lies in the frame
TIME_MASK = (1 << 48) - 1
MASK = (1 << 64) - 1
MAX_SEQUENCE = (1 << 32) - 1
MAX_FLOWS = 1 << 16


def payload_digest(payload: bytes | memoryview) -> int:
    """64 bits over the payload behind the stamp; 0 for none.

    Two running sums over little-endian 64-bit words, as in Fletcher's checksum, so that a changed word and
    words in another order both show; and the length.
    """
    size = len(payload)
    if not size:
        return 0
    whole = size // 8
    words = list(struct.unpack_from(f"<{whole}Q", payload))
    if size % 8:
        words.append(int.from_bytes(payload[whole * 8 :], "little"))
    total = order = 0
    for word in words:
        total += word
        order += total
    return (total * K_SUM + order * K_ORDER + size * K_LENGTH) & MASK


def identity_of(magic: int, flow: int, sequence: int) -> int:
    """The stamp's first 8 bytes as a number."""
    return magic | flow << 16 | (sequence & MAX_SEQUENCE) << 32


def check_of(identity: int, sent_ns: int, digest: int) -> int:
    """The stamp's check."""
    mixed = (digest + identity * K_IDENTITY + (sent_ns & TIME_MASK) * K_TIME) & MASK
    return (mixed >> 32) ^ (mixed & 0xFFFFFFFF)


def pack(magic: int, flow: int, sequence: int, sent_ns: int, digest: int) -> bytes:
    """The 18 bytes; `sent_ns` is the time of this very frame."""
    identity = identity_of(magic, flow, sequence)
    time = sent_ns & TIME_MASK | OWN_TIME
    check = check_of(identity, time, digest)
    return struct.pack("<QQH", identity, time | (check & 0xFFFF) << 48, check >> 16)


@dataclass(frozen=True)
class ReadStamp:
    """A stamp as it was found.

    Attributes:
        flow, sequence: what the sender wrote.
        sent_ns: when, CLOCK_MONOTONIC, 48 bits.
        own_time: `sent_ns` was read for this frame; else it is that of a frame before it.
        intact: the check is right: neither stamp nor payload was changed.
    """

    flow: int
    sequence: int
    sent_ns: int
    own_time: bool
    intact: bool


def read(payload: bytes | memoryview, magic: int = DEFAULT_MAGIC) -> ReadStamp | None:
    """The stamp at the start of a payload, None if there is none."""
    if len(payload) < STAMP_BYTES:
        return None
    identity, time, high = struct.unpack_from("<QQH", payload)
    if identity & 0xFFFF != magic:
        return None
    sent, check = time & TIME_MASK, time >> 48 | high << 16
    intact = check == check_of(identity, sent, payload_digest(payload[STAMP_BYTES:]))
    return ReadStamp(identity >> 16 & 0xFFFF, identity >> 32, sent, bool(sent & OWN_TIME), intact)
