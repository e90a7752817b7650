# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The consumer's side of a BPF ring buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from ._native import RING_SAMPLE_FN, libbpf
from .errors import KernelError


class RingBuffer:
    """Calls a function with the bytes of each record.

    Args:
        map_fd: fd of a map of type RINGBUF.
        on_record: what to call; an exception it raises comes out of `poll` or `consume`.

    Raises:
        KernelError: the fd is no ring buffer.
    """

    def __init__(self, map_fd: int, on_record: Callable[[bytes], None]) -> None:
        self._on_record = on_record
        self._failure: BaseException | None = None
        self._callback = RING_SAMPLE_FN(self._record)  # held here: libbpf keeps only its address
        self._handle = libbpf().ring_buffer__new(map_fd, self._callback, None, None)
        if not self._handle:
            raise KernelError("open ring buffer", f"map fd {map_fd}", ctypes.get_errno())

    def _record(self, _context: int, data: int, size: int) -> int:
        try:
            self._on_record(ctypes.string_at(data, size))
        except BaseException as error:  # noqa: BLE001 (an exception must not cross C; it is raised again outside)
            self._failure = error
            return -1
        return 0

    def _result(self, count: int) -> int:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if count < 0:
            raise KernelError("read ring buffer", "ring buffer", count)
        return count

    def poll(self, timeout_ms: int) -> int:
        """Waits for records, hands them out, gives their number."""
        return self._result(libbpf().ring_buffer__poll(self._handle, timeout_ms))

    def consume(self) -> int:
        """Hands out what is there without waiting, gives the number."""
        return self._result(libbpf().ring_buffer__consume(self._handle))

    def close(self) -> None:
        """Frees the consumer; the map stays."""
        if self._handle:
            libbpf().ring_buffer__free(self._handle)
            self._handle = None

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
