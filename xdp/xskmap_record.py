# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The records of `src/xsk_reader.h`, mirrored for ctypes, and their translation into plain values."""

from __future__ import annotations

import ctypes
import enum
from ctypes import c_char, c_uint32, c_uint64

from .xskmap_model import (
    INDICES,
    NEED_WAKEUP,
    MapEntry,
    NetNamespace,
    RingLevel,
    SocketInfo,
    Statistics,
    Umem,
)

SCAN_SLOTS = 256  # XSK_SCAN_SLOTS
READ_SOCKETS = 8  # XSK_READ_SOCKETS
ENTRIES = 4  # XSK_ENTRIES
_STATES = {0: "ready", 1: "bound", 2: "unbound"}  # enum in struct xdp_sock, include/net/xdp_sock.h
_UNALIGNED = 1 << 0  # XDP_UMEM_UNALIGNED_CHUNK_FLAG, linux/if_xdp.h


class Present(enum.IntFlag):
    """`enum xsk_present`: members that not every kernel has, or not every socket."""

    DEVICE = 1 << 0
    NETNS_COOKIE = 1 << 1
    MULTI_BUFFER = 1 << 2
    CHUNKS = 1 << 3
    POOL = 1 << 4
    FREE_LIST = 1 << 5
    UMEM = 1 << 6
    EMPTY_DESCS = 1 << 7
    RX_QUEUE_FULL = 1 << 8
    ENTRIES = 1 << 9


class RingRecord(ctypes.Structure):
    """`struct xsk_ring_record`."""

    _fields_ = (
        ("invalid_descs", c_uint64),
        ("queue_empty_descs", c_uint64),
        ("size", c_uint32),
        ("producer", c_uint32),
        ("consumer", c_uint32),
        ("cached_producer", c_uint32),
        ("cached_consumer", c_uint32),
        ("flags", c_uint32),
        ("unused", c_uint32),
    )


class EntryRecord(ctypes.Structure):
    """`struct xsk_entry_record`."""

    _fields_ = (("map_id", c_uint32), ("slot", c_uint32))


class Record(ctypes.Structure):
    """`struct xsk_record`."""

    _fields_ = (
        ("inode", c_uint64),
        ("netns_cookie", c_uint64),
        ("rx_dropped", c_uint64),
        ("rx_queue_full", c_uint64),
        ("umem_size", c_uint64),
        ("rx", RingRecord),
        ("tx", RingRecord),
        ("fill", RingRecord),
        ("completion", RingRecord),
        ("slot", c_uint32),
        ("occupied", c_uint32),
        ("present", c_uint32),
        ("queue", c_uint32),
        ("state", c_uint32),
        ("zero_copy", c_uint32),
        ("multi_buffer", c_uint32),
        ("ifindex", c_uint32),
        ("netns_inode", c_uint32),
        ("umem_chunk_size", c_uint32),
        ("umem_headroom", c_uint32),
        ("umem_chunks", c_uint32),
        ("umem_users", c_uint32),
        ("umem_flags", c_uint32),
        ("umem_id", c_uint32),
        ("pool_users", c_uint32),
        ("pool_free", c_uint32),
        ("uses_need_wakeup", c_uint32),
        ("entries", EntryRecord * ENTRIES),
        ("device", c_char * 16),
    )


def decode(record: Record) -> SocketInfo:
    """The socket of an occupied slot; its namespace has no name yet, and its owners are not known."""
    present = Present(record.present)
    device = Present.DEVICE in present
    pool = Present.POOL in present
    return SocketInfo(
        inode=record.inode,
        state=_STATES.get(record.state, str(record.state)),
        queue=record.queue,
        ifindex=record.ifindex if device else None,
        device=record.device.decode(errors="replace") if device else None,
        netns=NetNamespace(
            record.netns_inode,
            record.netns_cookie if Present.NETNS_COOKIE in present else None,
            f"net:[{record.netns_inode}]",
        ),
        zero_copy=bool(record.zero_copy),
        multi_buffer=bool(record.multi_buffer) if Present.MULTI_BUFFER in present else None,
        uses_need_wakeup=bool(record.uses_need_wakeup) if pool else None,
        rx=_ring(record.rx, kernel_produces=True),
        tx=_ring(record.tx, kernel_produces=False),
        fill=_ring(record.fill, kernel_produces=False),
        completion=_ring(record.completion, kernel_produces=True),
        pool_free=record.pool_free if Present.FREE_LIST in present else None,
        pool_users=record.pool_users if pool else None,
        umem=_umem(record, present),
        statistics=_statistics(record, present),
        entries=tuple(MapEntry(one.map_id, one.slot) for one in record.entries if one.map_id)
        if Present.ENTRIES in present
        else None,
    )


def _ring(record: RingRecord, *, kernel_produces: bool) -> RingLevel | None:
    if not record.size:
        return None
    if kernel_produces:
        unpublished = record.cached_producer - record.producer
    else:
        unpublished = record.cached_consumer - record.consumer
    return RingLevel(
        size=record.size,
        producer=record.producer,
        consumer=record.consumer,
        unpublished=unpublished % INDICES,
        need_wakeup=bool(record.flags & NEED_WAKEUP),
    )


def _umem(record: Record, present: Present) -> Umem | None:
    if Present.UMEM not in present:
        return None
    return Umem(
        id=record.umem_id,
        size=record.umem_size,
        chunk_size=record.umem_chunk_size,
        headroom=record.umem_headroom,
        chunks=record.umem_chunks if Present.CHUNKS in present else None,
        users=record.umem_users,
        unaligned=bool(record.umem_flags & _UNALIGNED),
    )


def _statistics(record: Record, present: Present) -> Statistics:
    # Which ring counts what: xsk_getsockopt(), net/xdp/xsk.c.
    empty = Present.EMPTY_DESCS in present
    return Statistics(
        rx_dropped=record.rx_dropped,
        rx_ring_full=record.rx_queue_full if Present.RX_QUEUE_FULL in present else None,
        rx_invalid_descs=record.fill.invalid_descs if record.fill.size else None,
        rx_fill_ring_empty_descs=record.fill.queue_empty_descs if record.fill.size and empty else None,
        tx_invalid_descs=record.tx.invalid_descs if record.tx.size else None,
        tx_ring_empty_descs=record.tx.queue_empty_descs if record.tx.size and empty else None,
    )
