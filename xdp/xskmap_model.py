# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What an XSKMAP holds, as plain values: comparable, printable, ready for JSON.

A member that the running kernel does not have, or that the socket does not have yet, is None.
"""

from __future__ import annotations

import dataclasses
from typing import Any

NEED_WAKEUP = 1 << 0  # XDP_RING_NEED_WAKEUP, linux/if_xdp.h
INDICES = 1 << 32  # ring indices are 32 bits and run freely


@dataclasses.dataclass(frozen=True)
class RingLevel:
    """One ring.

    Attributes:
        size: in entries.
        producer: index that the kernel and the process share, running freely; so `consumer`.
        unpublished: how far the kernel's own index is ahead of the shared one: entries of fill and tx that it
            took, of rx and completion that it reserved (for completion: frames being sent).
        need_wakeup: the kernel waits for a system call before it goes on with this ring.
    """

    size: int
    producer: int
    consumer: int
    unpublished: int
    need_wakeup: bool

    @property
    def level(self) -> int:
        """Entries produced and not consumed yet; more than `size`: the process wrote a wrong index."""
        return (self.producer - self.consumer) % INDICES


@dataclasses.dataclass(frozen=True)
class NetNamespace:
    """A network namespace: inode of nsfs, cookie (Linux 5.12), name in /run/netns or "net:[inode]"."""

    inode: int
    cookie: int | None
    name: str


@dataclasses.dataclass(frozen=True)
class Umem:
    """The socket's UMEM: bytes, bytes a chunk, bytes of headroom, chunks, sockets and pools that use it."""

    id: int
    size: int
    chunk_size: int
    headroom: int
    chunks: int | None
    users: int
    unaligned: bool


@dataclasses.dataclass(frozen=True)
class Statistics:
    """The counters of XDP_STATISTICS (struct xdp_statistics, linux/if_xdp.h), under the same names."""

    rx_dropped: int
    rx_ring_full: int | None
    rx_invalid_descs: int | None
    rx_fill_ring_empty_descs: int | None
    tx_invalid_descs: int | None
    tx_ring_empty_descs: int | None


@dataclasses.dataclass(frozen=True)
class MapEntry:
    """A slot of an XSKMAP, by the map's id."""

    map_id: int
    slot: int


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process that holds the socket; `command` is its command line."""

    pid: int
    name: str
    command: str


@dataclasses.dataclass(frozen=True)
class SocketInfo:
    """An AF_XDP socket, read from the kernel.

    Attributes:
        inode: the number in /proc/PID/fd → socket:[inode].
        state: "ready" (not bound yet), "bound", "unbound" (its device went away); enum of struct xdp_sock.
        queue: of the device.
        ifindex: None unless the state is "bound".
        device: name, None unless the state is "bound".
        netns: of the socket, and so of the device.
        zero_copy: True for zero-copy mode, False for copy mode.
        multi_buffer: bound with XDP_USE_SG (Linux 6.6).
        uses_need_wakeup: bound with XDP_USE_NEED_WAKEUP; None before the bind.
        rx: None if the socket has no such ring; so `tx`. `fill` and `completion` are None before the bind and
            belong to the pool: sockets on one device, queue and UMEM share them.
        pool_free: frames that the kernel took from the fill ring and has not delivered yet, such as those of
            packets that met a full RX ring; None before the bind.
        pool_users: sockets that share fill ring, completion ring and `pool_free`.
        umem: None before the bind of a socket that has none of its own.
        statistics: drops and invalid descriptors.
        owners: processes that hold the socket, by pid; empty if it was not asked for.
        entries: the slots that hold the socket, of all maps, at most four; None where the kernel lists none.
    """

    inode: int
    state: str
    queue: int
    ifindex: int | None
    device: str | None
    netns: NetNamespace
    zero_copy: bool
    multi_buffer: bool | None
    uses_need_wakeup: bool | None
    rx: RingLevel | None
    tx: RingLevel | None
    fill: RingLevel | None
    completion: RingLevel | None
    pool_free: int | None
    pool_users: int | None
    umem: Umem | None
    statistics: Statistics
    owners: tuple[Owner, ...] = ()
    entries: tuple[MapEntry, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Slot:
    """One slot of the map; `socket` is None for an empty slot, and where only occupancy could be read."""

    index: int
    occupied: bool
    socket: SocketInfo | None = None


@dataclasses.dataclass(frozen=True)
class ProgramRef:
    """A loaded BPF program that uses the map."""

    id: int
    name: str


@dataclasses.dataclass(frozen=True)
class XskMap:
    """An XSKMAP at one moment.

    Attributes:
        id: of the map.
        name: at most 15 characters.
        max_entries: number of slots.
        method: "btf": everything was read; "probe": only which slots are occupied.
        note: why the method is "probe", else "".
        programs: which programs use the map, by id.
        slots: all of them, by index.
    """

    id: int
    name: str
    max_entries: int
    method: str
    note: str
    programs: tuple[ProgramRef, ...]
    slots: tuple[Slot, ...]

    @property
    def occupied(self) -> tuple[Slot, ...]:
        """The occupied slots, by index."""
        return tuple(slot for slot in self.slots if slot.occupied)

    @property
    def sockets(self) -> dict[int, SocketInfo]:
        """Slot → socket, for the slots whose socket is known."""
        return {slot.index: slot.socket for slot in self.slots if slot.socket}

    def as_dict(self, *, only_occupied: bool = False) -> dict[str, Any]:
        """JSON-ready: the attributes by their names, and each ring's `level` besides."""
        slots = self.occupied if only_occupied else self.slots
        result = dataclasses.asdict(dataclasses.replace(self, slots=()))
        result["occupied"] = len(self.occupied)
        result["slots"] = [_slot_dict(slot) for slot in slots]
        return result


def _slot_dict(slot: Slot) -> dict[str, Any]:
    result = dataclasses.asdict(slot)
    if slot.socket:
        for name in ("rx", "tx", "fill", "completion"):
            ring: RingLevel | None = getattr(slot.socket, name)
            if ring:
                result["socket"][name]["level"] = ring.level
    return result
