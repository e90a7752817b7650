# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A whole batch at once: header fields of all its packets as NumPy columns, read and written in the UMEM.

For functions of the action "python": no loop over packets, an array operation for each step.

    def decide(packets, frames):
        batch = Batch(packets, frames)
        ip = batch.ipv4()
        return np.where(ip.is_udp & (ip.destination_port == 53), FORWARD, DROP)

Columns are int64, whatever the field's size, so that arithmetic never wraps. Columns of fields that a packet
does not have hold bytes of something else: look at `is_ipv4`, `is_udp` and so on first.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column: TypeAlias = NDArray[np.int64]
    Mask: TypeAlias = NDArray[np.bool_]
    Values: TypeAlias = int | Column

ETHERNET_BYTES = 14
TYPE_IPV4 = 0x0800
VLAN_TYPES = (0x8100, 0x88A8)
TCP, UDP = 6, 17
UDP_BYTES, TCP_BYTES = 8, 20
IPV4_BYTES = 20
FRAGMENT = 0x3FFF  # more fragments, or an offset: no ports there, or no whole datagram
REACH = 128  # bytes of a packet that headers are looked for in


class Batch:
    """The packets of one batch.

    Args:
        packets: descriptors, as a batch function gets them.
        frames: the UMEM, as a batch function gets it.

    Attributes:
        start: byte of the UMEM at which each packet begins.
        length: bytes of each packet.
    """

    def __init__(self, packets: NDArray[np.void], frames: NDArray[np.uint8]) -> None:
        memory = frames.reshape(-1)
        self.length: Column = packets["len"].astype(np.int64)
        # Near the UMEM's end a packet may be shorter than what is looked at; its columns mean nothing then.
        self.start: Column = np.minimum(packets["addr"].astype(np.int64), memory.size - REACH)
        # Values of 2 and 4 bytes that begin at every byte: then an index is an address.
        self._views = {
            size: np.ndarray(memory.size - size + 1, f">u{size}", memory.data, strides=(1,))
            for size in (1, 2, 4)
        }

    def __len__(self) -> int:
        return len(self.length)

    def get(self, offset: Values, size: int) -> Column:
        """A field of each packet.

        Args:
            offset: from the packet's first byte; one for all, or a column.
            size: bytes, 1, 2 or 4 (big-endian).
        """
        column: Column = self._views[size][self.start + offset].astype(np.int64)
        return column

    def set(self, offset: Values, size: int, values: Values, where: Mask | None = None) -> None:
        """Writes a field of each packet, or of those of a mask.

        Args:
            offset: from the packet's first byte; one for all, or a column.
            size: bytes, 1, 2 or 4 (big-endian).
            values: one for all, or a column.
            where: only these packets; None for all.
        """
        at = self.start + offset
        if where is not None:
            at = at[where]
            values = values[where] if isinstance(values, np.ndarray) else values
        self._views[size][at] = values

    def set_macs(
        self, *, source: Values | None = None, destination: Values | None = None, where: Mask | None = None
    ) -> None:
        """Writes Ethernet addresses, as numbers of 48 bits."""
        for offset, address in ((6, source), (0, destination)):
            if address is not None:
                self.set(offset, 2, address >> 32, where)
                self.set(offset + 2, 4, address & 0xFFFFFFFF, where)

    def swap_macs(self, where: Mask | None = None) -> None:
        """Exchanges source and destination."""
        source, destination = (self.get(at, 2) << 32 | self.get(at + 2, 4) for at in (6, 0))
        self.set_macs(source=destination, destination=source, where=where)

    def ipv4(self) -> IPv4:
        """The columns of IPv4 and what is above it."""
        return IPv4(self)


class IPv4:
    """IPv4, UDP and TCP headers of a batch, behind up to two VLAN tags and IP options.

    Attributes:
        is_ipv4: a whole header, and the datagram lies within the packet.
        is_udp, is_tcp: also no fragment, and with the whole header of that protocol.
        start: offset of the IP header, from the packet's first byte.
        transport: offset of what follows it.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        kind = batch.get(12, 2)
        self.start: Column = np.full(len(batch), ETHERNET_BYTES, dtype=np.int64)
        for _ in range(2):
            tagged = np.isin(kind, VLAN_TYPES)
            if not tagged.any():
                break
            self.start[tagged] += 4
            kind = np.where(tagged, batch.get(self.start - 2, 2), kind)
        first = batch.get(self.start, 1)
        header = (first & 15) * 4
        room = batch.length - self.start
        self.transport: Column = self.start + header
        self.is_ipv4: Mask = (
            (kind == TYPE_IPV4)
            & (room >= IPV4_BYTES)
            & (first >> 4 == 4)
            & (header >= IPV4_BYTES)
            & (self.total_length >= header)
            & (self.total_length <= room)
        )
        self._payload = self.total_length - header

    def _field(self, offset: int, size: int) -> Column:
        return self._batch.get(self.start + offset, size)

    @cached_property
    def total_length(self) -> Column:
        """Bytes of header and payload, as the header says."""
        return self._field(2, 2)

    @cached_property
    def ttl(self) -> Column:
        """Time to live."""
        return self._field(8, 1)

    @cached_property
    def protocol(self) -> Column:
        """Number of the protocol above."""
        return self._field(9, 1)

    @cached_property
    def source(self) -> Column:
        """Source address as a number: 10.0.0.1 is 0x0a000001."""
        return self._field(12, 4)

    @cached_property
    def destination(self) -> Column:
        """Destination address as a number."""
        return self._field(16, 4)

    @cached_property
    def is_whole(self) -> Mask:
        """No fragment."""
        whole: Mask = self.is_ipv4 & (self._field(6, 2) & FRAGMENT == 0)
        return whole

    @cached_property
    def is_udp(self) -> Mask:
        """With a whole UDP header."""
        udp: Mask = self.is_whole & (self.protocol == UDP) & (self._payload >= UDP_BYTES)
        return udp

    @cached_property
    def is_tcp(self) -> Mask:
        """With a whole TCP header, options aside."""
        tcp: Mask = self.is_whole & (self.protocol == TCP) & (self._payload >= TCP_BYTES)
        return tcp

    @cached_property
    def source_port(self) -> Column:
        """Of UDP and TCP."""
        return self._batch.get(self.transport, 2)

    @cached_property
    def destination_port(self) -> Column:
        """Of UDP and TCP."""
        return self._batch.get(self.transport + 2, 2)

    def rewrite(
        self,
        *,
        source: Values | None = None,
        destination: Values | None = None,
        source_port: Values | None = None,
        destination_port: Values | None = None,
        where: Mask | None = None,
    ) -> None:
        """Writes addresses and ports, and updates the checksums of IPv4, UDP and TCP (RFC 1624).

        The columns read before keep their old values.

        Args:
            source: address as a number, one for all or a column; None leaves it.
            destination: likewise.
            source_port: likewise; only of packets that are UDP or TCP.
            destination_port: likewise.
            where: only these packets; those that are no IPv4 are never written.
        """
        chosen = self.is_ipv4 if where is None else self.is_ipv4 & where
        with_ports = chosen & (self.is_udp | self.is_tcp)
        old: Any = 0
        new: Any = 0
        count = 0
        for offset, was, now in ((12, "source", source), (16, "destination", destination)):
            if now is not None:
                old, new, count = (
                    old + checksum.words(getattr(self, was)),
                    new + checksum.words(now),
                    count + 2,
                )
                self._batch.set(self.start + offset, 4, now, chosen)
        if count:
            self._update(self.start + 10, chosen, old, new, count)
        for offset, was, now in ((0, "source_port", source_port), (2, "destination_port", destination_port)):
            if now is not None:
                old, new, count = old + getattr(self, was), new + now, count + 1
                self._batch.set(self.transport + offset, 2, now, with_ports)
        if not count:
            return
        # UDP: 0 says that there is no checksum, and one that comes out as 0 is written 0xffff (RFC 768).
        udp = with_ports & self.is_udp
        if udp.any():
            present = udp & (self._batch.get(self.transport + 6, 2) != 0)
            self._update(self.transport + 6, present, old, new, count, zero=0xFFFF)
        tcp = with_ports & self.is_tcp
        if tcp.any():
            self._update(self.transport + 16, tcp, old, new, count)

    def _update(self, at: Column, where: Mask, old: Values, new: Values, count: int, zero: int = 0) -> None:
        updated = checksum.replaced(self._batch.get(at, 2), old, new, count)
        self._batch.set(at, 2, np.where(updated == 0, zero, updated), where)
