# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The rings of an AF_XDP socket as NumPy arrays, produced into and consumed from by hand.

libxdp's own accessors are inline functions of C, which Python cannot call. What they do beside arithmetic is
ordering: entries are written before the producer's index, and read after it. On x86-64 the processor keeps
that order by itself, and CPython does not reorder its own steps; elsewhere a fence of libatomic stands there.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from xdp.pyxdp import xsk
from xdp.pyxdp._native import Ring
from xdp.pyxdp.errors import InputError

DESCRIPTOR: np.dtype[Any] = np.dtype(
    [("addr", "u8"), ("len", "u4"), ("options", "u4")]
)  # struct xdp_desc, linux/if_xdp.h
ADDRESS: np.dtype[Any] = np.dtype("u8")
INDICES = 1 << 32  # ring indices are 32 bits and run freely
_SEQ_CST = 5  # memory_order_seq_cst

Entries = npt.NDArray[Any]


class _View:
    def __init__(self, ring: Ring, entry: np.dtype[Any]) -> None:
        self.size = int(ring.size)
        self._ring = ring
        self._fence = _fence()
        self._entries: npt.NDArray[Any] = np.frombuffer(
            memoryview((ctypes.c_char * (self.size * entry.itemsize)).from_address(ring.ring)), dtype=entry
        )

    @property
    def producer(self) -> int:
        """The shared producer's index."""
        return int(self._ring.producer[0])

    @property
    def consumer(self) -> int:
        """The shared consumer's index."""
        return int(self._ring.consumer[0])

    @property
    def level(self) -> int:
        """Entries produced and not consumed."""
        return (self.producer - self.consumer) % INDICES

    @property
    def room(self) -> int:
        """Entries that fit."""
        return self.size - self.level

    @property
    def needs_wakeup(self) -> bool:
        """The kernel waits for a system call before it goes on with this ring."""
        return bool(self._ring.flags[0] & xsk.XDP_RING_NEED_WAKEUP)

    def _slots(self, start: int, count: int) -> npt.NDArray[np.int64]:
        return (start + np.arange(count)) % self.size


class Producer(_View):
    """A fill or TX ring."""

    def produce(self, entries: npt.ArrayLike) -> None:
        """Puts entries in, and then shows them to the kernel."""
        values = np.asarray(entries, dtype=self._entries.dtype)
        assert len(values) <= self.room, f"{len(values)} entries, but room for {self.room}"
        start = self.producer
        self._entries[self._slots(start, len(values))] = values
        self._fence()
        self._ring.producer[0] = (start + len(values)) % INDICES


class Consumer(_View):
    """An RX or completion ring."""

    def consume(self, most: int | None = None) -> Entries:
        """A copy of what is there, at most `most`; then the kernel may use the entries again."""
        start, count = self.consumer, self.level
        if most is not None:
            count = min(count, most)
        self._fence()
        values: Entries = self._entries[self._slots(start, count)]  # indexed by an array: a copy
        self._fence()
        self._ring.consumer[0] = (start + count) % INDICES
        return values


@functools.cache
def _fence() -> Callable[[], None]:
    if platform.machine() == "x86_64":
        return lambda: None
    try:
        library = ctypes.CDLL("libatomic.so.1")
    except OSError:
        raise InputError("libatomic.so.1 is not installed: install libatomic1") from None
    return lambda: library.atomic_thread_fence(_SEQ_CST)
