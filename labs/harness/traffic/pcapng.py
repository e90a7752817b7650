# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The packets of a pcapng file: what Wireshark and dumpcap write.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html. Not scapy's reader, which takes a truncated
file for a shorter one, and carries interfaces on from one section to the next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from xdp.pyxdp.errors import InputError

SECTION = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET = 1, 2, 3, 6  # types of blocks
BLOCK_HEADER, BLOCK_LEAST = 8, 12  # type and length; and the length once more at the end


class PcapNg:
    """A file that begins with a section; `path` is only for messages."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data = path, data
        self._order = "<"
        self._interfaces: list[tuple[int, int]] = []  # of this section: link type and snap length

    def packets(self) -> Iterator[tuple[bytes, int, int]]:
        """Of each packet the bytes that were kept, its original length, and the link type.

        Raises:
            InputError: the file is truncated or damaged.
        """
        number = 1
        for kind, body in self._blocks():
            if kind == INTERFACE:
                link_type, _, snap = self._unpack("HHI", body)
                self._interfaces.append((link_type, snap))
            elif kind in (PACKET, SIMPLE_PACKET, OLD_PACKET):
                yield self._packet(kind, body, number)
                number += 1

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        data, at = self._data, 0
        while at < len(data):
            if data[at : at + 4] == SECTION:
                self._begin_section(data[at + 8 : at + 12])
            if at + BLOCK_LEAST > len(data):
                raise self._truncated(at)
            kind, length = struct.unpack_from(self._order + "II", data, at)
            if length < BLOCK_LEAST or length % 4:
                raise self._damaged(f"a block of {length} bytes at byte {at}")
            if at + length > len(data):
                raise self._truncated(at)
            if struct.unpack_from(self._order + "I", data, at + length - 4)[0] != length:
                raise self._damaged(f"the block at byte {at} has two lengths")
            yield kind, data[at + BLOCK_HEADER : at + length - 4]
            at += length

    def _begin_section(self, mark: bytes) -> None:
        order = ORDERS.get(mark)
        if order is None:
            raise self._damaged("a section without byte order") if len(mark) == 4 else self._truncated(0)
        self._order, self._interfaces = order, []

    def _packet(self, kind: int, body: bytes, number: int) -> tuple[bytes, int, int]:
        interface = 0
        if kind == PACKET:
            interface, _, _, kept, original = self._unpack("5I", body)
            at = 20
        elif kind == OLD_PACKET:
            interface, _, _, _, kept, original = self._unpack("HHIIII", body)
            at = 20
        else:
            (original,) = self._unpack("I", body)
            kept, at = original, 4
        if interface >= len(self._interfaces):
            raise self._damaged(f"packet {number} is of interface {interface}, which it does not describe")
        link_type, snap = self._interfaces[interface]
        if kind == SIMPLE_PACKET and snap:
            kept = min(kept, snap)
        if at + kept > len(body):
            raise self._damaged(f"packet {number} is longer than its block")
        return body[at : at + kept], original, link_type

    def _unpack(self, form: str, body: bytes) -> tuple[int, ...]:
        form = self._order + form
        if len(body) < struct.calcsize(form):
            raise self._damaged("a block is too short for what it holds")
        return struct.unpack_from(form, body)

    def _truncated(self, at: int) -> InputError:
        return InputError(f"{self._path} is truncated: it ends within the block at byte {at}")

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._path} is a damaged pcapng file: {what}")
