# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Ethernet frames as bytes: where the payload lies, and a sequence number in it that keeps checksums right.

The stamp is 8 bytes: the magic "XDPL", then the sequence number, 32 bits, big-endian. Checksums are updated
incrementally (RFC 1624) from the frame with number 0: a stamp costs an addition, not a pass over the frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xdp.pyxdp.errors import InputError

MAGIC = b"XDPL"
STAMP_BYTES = len(MAGIC) + 4
MAX_SEQUENCE = 2**32 - 1

ETH_HEADER = 14
VLAN_TYPES = (0x8100, 0x88A8)
ETH_IPV4, ETH_IPV6 = 0x0800, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
IPV6_OPTIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: all of one form (RFC 8200)
# protocol → (least header length, offset of its checksum); TCP's true length is in its header
TRANSPORTS = {ICMP: (8, 2), ICMPV6: (8, 2), UDP: (8, 6), TCP: (20, 16)}


@dataclass(frozen=True)
class Layout:
    """Where things lie in a frame, as offsets from its first byte.

    Attributes:
        protocol: IP protocol number of the transport, or None (no IP, a fragment, an unknown protocol).
        payload: first byte after the headers that are known.
        end: one past the last byte of the payload; Ethernet padding may follow.
        checksum: the transport's checksum, or None if there is none to keep right.
    """

    protocol: int | None
    payload: int
    end: int
    checksum: int | None


def layout(frame: bytes | bytearray | memoryview) -> Layout:
    """Parse Ethernet, up to two VLAN tags, IPv4 with options or IPv6 with options, and the transport.

    A frame that is cut short or unknown gives the layout as far as it could be understood; nothing is raised.
    """
    size = len(frame)
    offset, kind = ETH_HEADER, _u16(frame, 12)
    for _ in range(2):
        if kind in VLAN_TYPES:
            kind = _u16(frame, offset + 2)
            offset += 4
    opaque = Layout(None, min(offset, size), size, None)
    if kind == ETH_IPV4 and size >= offset + 20 and frame[offset] >> 4 == 4:
        header = 4 * (frame[offset] & 15)
        end = min(size, offset + _u16(frame, offset + 2))
        fragment = _u16(frame, offset + 6) & 0x3FFF  # more fragments, or an offset
        protocol, start = frame[offset + 9], offset + header
        if header < 20 or fragment or start > end:
            return Layout(None, min(start, size), max(end, min(start, size)), None)
    elif kind == ETH_IPV6 and size >= offset + 40 and frame[offset] >> 4 == 6:
        end = min(size, offset + 40 + _u16(frame, offset + 4))
        protocol, start = frame[offset + 6], offset + 40
        while protocol in IPV6_OPTIONS and start + 8 <= end:
            protocol, start = frame[start], start + 8 * (frame[start + 1] + 1)
    else:
        return opaque
    if protocol not in TRANSPORTS:
        return Layout(None, min(start, size), end, None)
    length, checksum = TRANSPORTS[protocol]
    if protocol == TCP and start + 20 <= end:
        length = 4 * (frame[start + 12] >> 4)
    if start + length > end:
        return Layout(None, min(start, size), end, None)
    # RFC 768: a UDP checksum of 0 over IPv4 means that the sender made none, and it stays so.
    none = protocol == UDP and kind == ETH_IPV4 and _u16(frame, start + 6) == 0
    return Layout(protocol, start + length, end, None if none else start + checksum)


class Template:
    """A frame into which sequence numbers are stamped; its buffer is the frame as last stamped.

    Args:
        frame: the whole frame, checksums right.
        offset: of the stamp within the payload, bytes.
        magic: written before the number.

    Raises:
        InputError: the payload is too short for the stamp.
    """

    def __init__(self, frame: bytes, offset: int = 0, magic: bytes = MAGIC) -> None:
        self.buffer = bytearray(frame)
        where = layout(frame)
        at = where.payload + offset
        if offset < 0 or at + len(magic) + 4 > where.end:
            have = where.end - where.payload
            raise InputError(
                f"payload of {have} bytes has no room for a sequence number at {offset}: it needs "
                f"{offset + len(magic) + 4}; add Raw(bytes(…)) to the packet, or send with sequence=False"
            )
        self.payload = slice(where.payload, where.end)
        self._number = at + len(magic)
        self._checksum = where.checksum
        self._odd = (self._number - where.payload) % 2 == 1
        # 0x0000 would mean "none" in UDP, so 0xffff is sent, the same number in one's complement.
        self._zero = 0xFFFF if where.protocol == UDP else 0
        self._base = 0
        before = bytes(self.buffer[at : self._number + 4])
        after = magic + bytes(4)
        self.buffer[at : self._number + 4] = after
        if self._checksum is not None:
            odd = (at - where.payload) % 2 == 1
            old = 0xFFFF ^ _u16(frame, self._checksum)
            self._base = _fold(old + (0xFFFF ^ _sum(before, odd)) + _sum(after, odd))
        self.stamp(0)

    def stamp(self, number: int) -> bytearray:
        """Write a sequence number; returns the buffer, which the next call overwrites."""
        struct.pack_into("!I", self.buffer, self._number, number)
        if self._checksum is not None:
            total = self._base + (number >> 16) + (number & 0xFFFF)
            if self._odd:
                total = self._base + _swap(_fold((number >> 16) + (number & 0xFFFF)))
            struct.pack_into("!H", self.buffer, self._checksum, (0xFFFF ^ _fold(total)) or self._zero)
        return self.buffer


def read_sequence(payload: bytes | memoryview, offset: int = 0, magic: bytes = MAGIC) -> int | None:
    """The sequence number in a payload, or None if there is no stamp."""
    end = offset + len(magic)
    if len(payload) < end + 4 or bytes(payload[offset:end]) != magic:
        return None
    return int.from_bytes(payload[end : end + 4], "big")


def _u16(frame: bytes | bytearray | memoryview, offset: int) -> int:
    return int.from_bytes(frame[offset : offset + 2], "big")


def _fold(value: int) -> int:
    while value > 0xFFFF:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def _swap(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


def _sum(data: bytes, odd: bool) -> int:
    """One's complement sum of bytes that begin at an even or odd place of what the checksum covers."""
    if odd:
        data = b"\0" + data
    if len(data) % 2:
        data += b"\0"
    return _fold(sum(struct.unpack(f"!{len(data) // 2}H", data)))
