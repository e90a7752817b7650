# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The memory that packets live in, shared with the kernel."""

from __future__ import annotations

import mmap

from xdp.pyxdp.errors import InputError, KernelError

from . import _batch

MAP_HUGETLB = 0x40000  # asm-generic/mman.h; the mmap module names it from Python 3.13 on
HUGE_PAGE = 2 << 20  # x86-64's and arm64's default huge page


class Umem(mmap.mmap):
    """Anonymous page-aligned memory for `frames` frames of `frame_size` bytes.

    It is an `mmap`, so it has the buffer protocol: `numpy.frombuffer(umem, "u1").reshape(frames, frame_size)`
    is a view of all frames without a copy.

    Args:
        frames: number of frames.
        frame_size: bytes a frame.
        hugepages: take 2 MiB pages; the size is rounded up to whole ones.

    Raises:
        InputError: no huge pages are reserved.
        KernelError: the kernel gives no memory.
    """

    frames: int
    frame_size: int

    def __new__(cls, frames: int, frame_size: int, *, hugepages: bool = False) -> Umem:
        """Maps and populates the memory, so that the first packets meet no page faults."""
        size = frames * frame_size
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        if hugepages:
            size = -(-size // HUGE_PAGE) * HUGE_PAGE
            flags |= MAP_HUGETLB
        try:
            self = super().__new__(cls, -1, size, flags=flags)
        except OSError as error:
            if hugepages:
                raise InputError(
                    f"no {size // HUGE_PAGE} free huge pages for the UMEM: reserve them "
                    f"(echo {size // HUGE_PAGE} > /proc/sys/vm/nr_hugepages) or leave --hugepages out"
                ) from error
            raise KernelError("map UMEM", f"{size} bytes", error.errno or 0) from error
        self.frames = size // frame_size
        self.frame_size = frame_size
        return self

    @property
    def address(self) -> int:
        """Where the memory begins."""
        return _batch.address(self)

    def close(self) -> None:
        """Unmaps the memory; where views of it are still alive, it goes with the last of them."""
        try:
            super().close()
        except BufferError:
            # A user's NumPy view outlived the loop: unmapping under it would be a crash.
            return
