# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An AF_XDP socket that another process made: its rings, mapped from its descriptor alone.

libxdp cannot do that: it wants to make the socket itself. The descriptor may have come by SCM_RIGHTS or by
inheritance; the UMEM's memory must have come too (a memfd), as the kernel gives no way to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct

from . import xsk
from ._native import Ring
from .errors import KernelError

_OFFSETS = 4 * 4  # struct xdp_mmap_offsets: rx, tx, fill, completion; each producer, consumer, desc, flags
_DESCRIPTOR = 16  # struct xdp_desc
_ADDRESS = 8


class AdoptedSocket:
    """The four rings of a bound socket, as `xsk.XskSocket` has them; a context manager.

    The indices go on where the kernel's memory says that the other process left them: it must have submitted
    and released all that it worked on, and must not touch the rings any more.

    Args:
        fd: the socket; it becomes this object's to close.
        rx_size, tx_size, fill_size, completion_size: entries of the rings, which no kernel tells; 0 for none.

    Raises:
        KernelError: no AF_XDP socket, or it has no such ring.
    """

    def __init__(self, fd: int, *, rx_size: int, tx_size: int, fill_size: int, completion_size: int) -> None:
        self.fd = fd
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.callback(os.close, fd)
            offsets = _mmap_offsets(fd)
            rings = []
            for number, (size, entry, page) in enumerate(
                (
                    (rx_size, _DESCRIPTOR, xsk.XDP_PGOFF_RX_RING),
                    (tx_size, _DESCRIPTOR, xsk.XDP_PGOFF_TX_RING),
                    (fill_size, _ADDRESS, xsk.XDP_UMEM_PGOFF_FILL_RING),
                    (completion_size, _ADDRESS, xsk.XDP_UMEM_PGOFF_COMPLETION_RING),
                )
            ):
                where = offsets[4 * number : 4 * number + 4]
                rings.append(_map_ring(fd, size, entry, page, where, on_error) if size else Ring())
            self.rx, self.tx, self.fill, self.completion = rings
            self._undo.push(on_error.pop_all())

    def close(self) -> None:
        """Unmaps the rings and closes the descriptor; the socket itself goes with its last one."""
        self._undo.close()

    def __enter__(self) -> AdoptedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mmap_offsets(fd: int) -> tuple[int, ...]:
    try:
        with socket.socket(xsk.AF_XDP, socket.SOCK_RAW, 0, fileno=os.dup(fd)) as borrowed:
            raw = borrowed.getsockopt(xsk.SOL_XDP, xsk.XDP_MMAP_OFFSETS, 8 * _OFFSETS)
    except OSError as error:
        raise KernelError("read XDP_MMAP_OFFSETS", f"descriptor {fd}", error.errno or 0) from error
    return struct.unpack(f"{_OFFSETS}Q", raw)


def _map_ring(
    fd: int, size: int, entry: int, page: int, where: tuple[int, ...], undo: contextlib.ExitStack
) -> Ring:
    producer, consumer, entries, flags = where
    try:
        memory = mmap.mmap(fd, entries + size * entry, offset=page)
    except OSError as error:
        raise KernelError("map ring", f"{size} entries at {page:#x}", error.errno or 0) from error
    undo.callback(memory.close)
    anchor = ctypes.c_char.from_buffer(memory)
    base = ctypes.addressof(anchor)
    del anchor  # it would keep the memory from being unmapped
    word = ctypes.POINTER(ctypes.c_uint32)
    ring = Ring(mask=size - 1, size=size, ring=base + entries)
    ring.producer = ctypes.cast(base + producer, word)
    ring.consumer = ctypes.cast(base + consumer, word)
    ring.flags = ctypes.cast(base + flags, word)
    return ring
