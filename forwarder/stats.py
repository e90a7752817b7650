# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Live counters in memory that any process may map, and the line that people read.

Layout of the memory: 64 bytes of header (magic, version, number of counters, number of queues, byte
distance of two queues, byte offset of the first), the counters' names separated by newlines, and from the
offset on one block of 64-bit counters a queue. The magic is written last.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

from xdp.pyxdp.errors import InputError

from . import _batch

_MAGIC = b"XLCOUNT\0"
_HEADER = struct.Struct("=8s5I")
_NAMES_AT = 64
_BLOCKS_AT = 4096
_STRIDE = -(-8 * len(_batch.COUNTERS) // 64) * 64  # whole cache lines: two queues' threads never share one


class Counters:
    """The writer's side: one block for each queue.

    Args:
        queues: number of queues.
        fd: a memfd of somebody who wants to look on (it is grown to what is needed); None for one of ours.

    Raises:
        InputError: the fd is no memory file.
    """

    def __init__(self, queues: int, fd: int | None = None) -> None:
        size = _BLOCKS_AT + _STRIDE * queues
        own = os.memfd_create("forwarder-counters", os.MFD_CLOEXEC) if fd is None else fd
        try:
            os.ftruncate(own, max(size, os.fstat(own).st_size))
            self._memory = mmap.mmap(own, size)
        except OSError as error:
            raise InputError(
                f"--counters-fd {fd}: give a memfd open for writing ({error.strerror})"
            ) from error
        finally:
            if fd is None:
                os.close(own)
        names = "\n".join(_batch.COUNTERS).encode() + b"\0"
        self._memory[:] = bytes(size)
        self._memory[_NAMES_AT : _NAMES_AT + len(names)] = names
        header = _HEADER.pack(_MAGIC, 1, len(_batch.COUNTERS), queues, _STRIDE, _BLOCKS_AT)
        self._memory[len(_MAGIC) : len(header)] = header[len(_MAGIC) :]
        self._memory[: len(_MAGIC)] = _MAGIC
        self._queues = queues

    def block(self, queue: int) -> memoryview:
        """The memory of one queue's counters, for its loop; release it before `close`."""
        start = _BLOCKS_AT + _STRIDE * queue
        return memoryview(self._memory)[start : start + _STRIDE]

    def queue(self, queue: int) -> dict[str, int]:
        """The counters of one queue (by its place in the spec) now."""
        return _read(self._memory, _BLOCKS_AT + _STRIDE * queue, _batch.COUNTERS)

    def total(self) -> dict[str, int]:
        """The sum over all queues now."""
        return _sum([self.queue(queue) for queue in range(self._queues)], _batch.COUNTERS)

    def close(self) -> None:
        """Unmaps; the memory lives on where somebody else has it mapped."""
        self._memory.close()


class CountersView:
    """The reader's side, in any process: counters by name, live.

    Args:
        fd: the memfd that was given to `--counters-fd`.

    Raises:
        InputError: nothing has been written there yet (wait for "ready"), or it is something else.
    """

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        head = os.pread(fd, _HEADER.size, 0)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise InputError(f"fd {fd} holds no counters of a forwarder (yet): wait until it is ready")
        _, version, counters, self.queues, self._stride, self._start = _HEADER.unpack(head)
        if version != 1:
            raise InputError(f"fd {fd}: counters of layout {version}, this reader knows layout 1")
        self._memory = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        end = self._memory.find(b"\0", _NAMES_AT)
        self.names = tuple(self._memory[_NAMES_AT:end].decode().split("\n"))[:counters]

    def queue(self, queue: int) -> dict[str, int]:
        """The counters of one queue, by its place in the forwarder's spec."""
        return _read(self._memory, self._start + self._stride * queue, self.names)

    def read(self) -> dict[str, int]:
        """The sum over all queues, now."""
        return _sum([self.queue(queue) for queue in range(self.queues)], self.names)

    def __getitem__(self, name: str) -> int:
        return self.read()[name]

    def close(self) -> None:
        """Unmaps; may be called again."""
        self._memory.close()

    def __enter__(self) -> CountersView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(memory: mmap.mmap, start: int, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, struct.unpack_from(f"={len(names)}Q", memory, start), strict=True))


def _sum(blocks: list[dict[str, int]], names: tuple[str, ...]) -> dict[str, int]:
    return {name: sum(block[name] for block in blocks) for name in names}


class Meter:
    """Turns counters into the line of each interval: totals, and rates since the line before."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._packets = 0
        self._bytes = 0

    def line(self, packets: int, size: int, now: float | None = None) -> str:
        """`AF_XDP RX: 10000 pkts (10000 pps) 600 KB (4.8 Mbit/s)`; 1 KB is 1,000 bytes, without FCS.

        Args:
            packets: received in all.
            size: bytes received in all.
            now: monotonic seconds; None for the clock's.
        """
        now = time.monotonic() if now is None else now
        seconds = max(now - self._at, 1e-9)
        text = format_line(packets, size, (packets - self._packets) / seconds, (size - self._bytes) / seconds)
        self._at, self._packets, self._bytes = now, packets, size
        return text


def format_line(packets: int, size: int, packets_per_second: float, bytes_per_second: float) -> str:
    """The line from totals and rates."""
    return (
        f"AF_XDP RX: {packets} pkts ({packets_per_second:.0f} pps) "
        f"{size / 1e3:.0f} KB ({bytes_per_second * 8 / 1e6:.1f} Mbit/s)"
    )
