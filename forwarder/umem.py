# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The memory that packets live in, shared with the kernel."""

from __future__ import annotations

import mmap

from xdp.pyxdp.errors import InputError, KernelError

from . import _batch

# asm-generic/mman.h and linux/mman.h; the size is said, as a machine's default may be another
MAP_HUGETLB, MAP_HUGE_2MB = 0x40000, 21 << 26
HUGE_PAGE = 2 << 20
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"


class Umem(mmap.mmap):
    """Anonymous page-aligned memory for `frames` frames of `frame_size` bytes.

    It is an `mmap`, so it has the buffer protocol: `numpy.frombuffer(umem, "u1").reshape(frames, frame_size)`
    is a view of all frames without a copy.

    Args:
        frames: number of frames.
        frame_size: bytes a frame.
        hugepages: take 2 MiB pages; the size is rounded up to whole ones.

    Attributes:
        page_size: bytes of a page of it, as the kernel tells.

    Raises:
        InputError: too few huge pages are reserved.
        KernelError: the kernel gives no memory.
    """

    frames: int
    frame_size: int
    page_size: int

    def __new__(cls, frames: int, frame_size: int, *, hugepages: bool = False) -> Umem:
        """Maps and populates the memory, so that the first packets meet no page faults."""
        size = frames * frame_size
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        if hugepages:
            size = -(-size // HUGE_PAGE) * HUGE_PAGE
            flags |= MAP_HUGETLB | MAP_HUGE_2MB
        try:
            self = super().__new__(cls, -1, size, flags=flags)
        except OSError as error:
            if hugepages:
                _explain(size // HUGE_PAGE)
            raise KernelError("map UMEM", f"{size} bytes", error.errno or 0) from error
        self.frames = size // frame_size
        self.frame_size = frame_size
        self.page_size = _page_size(self.address) if hugepages else mmap.PAGESIZE
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


def _explain(pages: int) -> None:
    """Says why so many huge pages cannot be had, if they are what is missing.

    Raises:
        InputError: they are.
    """
    try:
        there, free, promised = (_read(f"{name}_hugepages") for name in ("nr", "free", "resv"))
    except FileNotFoundError:
        raise InputError("--hugepages: this kernel has no pages of 2 MiB; leave it out") from None
    missing = pages - (free - promised)
    if missing > 0:
        raise InputError(
            f"--hugepages: the UMEM needs {pages} pages of 2 MiB and {free - promised} of {there} are free: "
            f"reserve them (echo {there + missing} > {POOL}nr_hugepages) or leave --hugepages out"
        )


def _read(name: str) -> int:
    with open(POOL + name, encoding="ascii") as file:  # noqa: PTH123 (pathlib is dear at start)
        return int(file.read())


def _page_size(address: int) -> int:
    """Bytes of a page of the mapping that begins there, by /proc/self/smaps."""
    begins = f"{address:x}-"
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as above)
        for line in file:
            if line.startswith(begins):
                break
        for line in file:
            if line.startswith("KernelPageSize:"):
                return int(line.split()[1]) << 10
    return mmap.PAGESIZE
