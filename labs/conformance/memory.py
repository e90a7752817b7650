# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A UMEM's memory and who has each of its frames: nobody, the program for sending, or the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forwarder.umem import HUGE_PAGE

OFFSET_SHIFT = 48  # XSK_UNALIGNED_BUF_OFFSET_SHIFT, linux/if_xdp.h
ADDRESS_MASK = (1 << OFFSET_SHIFT) - 1


@dataclass(frozen=True)
class UmemSpec:
    """A UMEM and its rings.

    Attributes:
        frame_size: bytes a frame (a chunk, in the kernel's words).
        frames: how many; the first half is for reception, the second for sending.
        headroom: bytes in front of each received packet, beyond XDP's own 256.
        unaligned: frames may lie anywhere, and be of any size from 2,048 to a page.
        fill_size, completion_size: entries of the rings.
        huge: the memory lies on pages of 2 MiB, which a device sees as one piece each.
    """

    frame_size: int = 2048
    frames: int = 256
    headroom: int = 0
    unaligned: bool = False
    fill_size: int = 256
    completion_size: int = 128
    huge: bool = False

    @property
    def size(self) -> int:
        """Bytes, whole pages."""
        return -(-self.frame_size * self.frames // mmap.PAGESIZE) * mmap.PAGESIZE


class Memory:
    """Memory that can be handed to another process, and the account of its frames; a context manager.

    Attributes:
        data: all of it, as an array of bytes.
        receive_pool, send_pool: addresses of frames that nobody uses.
        lent: frames that are being sent: in a TX ring, in the kernel or in a completion ring.
        given: frames for reception: in a fill ring, in the kernel or in an RX ring.
        doomed: addresses of descriptors that shall not be sent; some kernels complete them, others do not.

    Args:
        spec: its size and its frames.
        fd: a memfd of that size, which becomes this object's; None to make one.
    """

    def __init__(self, spec: UmemSpec, fd: int | None = None) -> None:
        self.spec = spec
        page, flags = (HUGE_PAGE, os.MFD_HUGETLB | os.MFD_HUGE_2MB) if spec.huge else (1, 0)
        size = -(-spec.size // page) * page
        self.fd = os.memfd_create("umem", os.MFD_CLOEXEC | flags) if fd is None else fd
        try:
            if fd is None:
                os.ftruncate(self.fd, size)
            self._map = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise
        self.data: npt.NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)
        addresses = [i * spec.frame_size for i in range(spec.frames)]
        self.receive_pool = addresses[: spec.frames // 2]
        self.send_pool = addresses[spec.frames // 2 :]
        self.lent: set[int] = set()
        self.given: set[int] = set()
        self.doomed: Counter[int] = Counter()

    @property
    def address(self) -> int:
        """Where the memory begins."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def lend(self) -> int:
        """A frame to send from."""
        assert self.send_pool, "all frames for sending are in use"
        address = self.send_pool.pop(0)
        self.lent.add(address)
        return address

    def lend_at(self, address: int) -> None:
        """The frame in which this address lies, to send from; also one for reception that was not given."""
        frame = self._frame(address)
        pool = self.send_pool if frame in self.send_pool else self.receive_pool
        pool.remove(frame)
        self.lent.add(frame)

    def take_back(self, address: int) -> None:
        """A lent frame was sent, or never will be.

        Raises:
            AssertionError: the frame was not lent: the kernel completed what was never given to it, or twice.
        """
        if self.doomed[address]:
            self.doomed[address] -= 1
            return
        frame = self._frame(address)
        assert frame in self.lent, f"address {address:#x} completed, but no frame there was being sent"
        self.lent.remove(frame)
        self.send_pool.append(frame)  # where a frame for reception was sent from, it stays there

    def give(self, count: int) -> list[int]:
        """Frames for the fill ring."""
        assert count <= len(self.receive_pool), f"{count} frames wanted, {len(self.receive_pool)} are free"
        frames, self.receive_pool = self.receive_pool[:count], self.receive_pool[count:]
        self.given.update(frames)
        return frames

    def received(self, address: int) -> int:
        """A given frame came back with a packet; returns where its data are.

        Raises:
            AssertionError: the kernel put a packet where it was given no frame, or twice into the same.
        """
        frame = self._frame(address)
        assert frame in self.given, f"a packet at {address:#x}, but no frame there was given"
        self.given.remove(frame)
        self.receive_pool.append(frame)
        return (address & ADDRESS_MASK) + (address >> OFFSET_SHIFT)

    def adopt(self, lent: Iterable[int], given: Iterable[int]) -> None:
        """Goes on with the account of the process that had the memory before."""
        self.lent, self.given = set(lent), set(given)
        self.send_pool = [address for address in self.send_pool if address not in self.lent]
        self.receive_pool = [address for address in self.receive_pool if address not in self.given]

    def _frame(self, address: int) -> int:
        place = (address & ADDRESS_MASK) + (address >> OFFSET_SHIFT)
        return place // self.spec.frame_size * self.spec.frame_size

    def close(self) -> None:
        """Unmaps it; no socket may use it any more."""
        if self.fd >= 0:
            del self.data
            self._map.close()
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
