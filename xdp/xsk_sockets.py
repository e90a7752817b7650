# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All AF_XDP sockets of the system with their owners, also those that no XSKMAP holds.

The kernel lists them only with CONFIG_XDP_SOCKETS_DIAG, and then without their rings. So each is borrowed
from its process for a moment (pidfd_getfd), put into an XSKMAP of our own, and read there like any other.
A socket in a map is not kept alive by it: nothing changes for its process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

from .pyxdp import kernel, maps
from .pyxdp.errors import KernelError
from .pyxdp.kernel import MapType
from .xskmap import Reader
from .xskmap_find import SCRATCH_MAP
from .xskmap_model import SocketInfo

AF_XDP = 44  # linux/socket.h
PIDFD_GETFD = 438  # asm-generic/unistd.h, the same on every architecture; Linux 5.6
MAX_SOCKETS = 256
_libc = ctypes.CDLL(None, use_errno=True)


class AllSockets:
    """The AF_XDP sockets that there were at construction, to be read again and again; a context manager.

    Raises:
        InputError, KernelError: not root, or the kernel refused the reader.
    """

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            fd = maps.create(MapType.XSKMAP, SCRATCH_MAP, 4, 4, MAX_SOCKETS)
            undo.callback(os.close, fd)
            info = kernel.map_info(fd)
            slot = 0
            for borrowed in _borrowed_sockets():
                if slot < MAX_SOCKETS:
                    with contextlib.suppress(KernelError):  # closed since
                        maps.update(fd, info, struct.pack("=I", slot), struct.pack("=I", borrowed))
                        slot += 1
            self._reader = undo.enter_context(Reader(fd=fd, method="btf"))
            self._undo = undo.pop_all()

    def read(self, *, with_owners: bool = True) -> dict[int, SocketInfo]:
        """Inode → socket, of those that still live."""
        read = self._reader.read(with_owners=with_owners)
        return {one.inode: one for one in read.sockets.values()}

    def close(self) -> None:
        """Forgets the sockets. Idempotent."""
        self._undo.close()

    def __enter__(self) -> AllSockets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _borrowed_sockets() -> Iterator[int]:
    """A descriptor of ours for each AF_XDP socket, valid until the next is asked for."""
    seen: set[str] = set()
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    for pid in pids:
        numbers = list(_socket_numbers(pid, seen))
        if not numbers:
            continue
        try:
            process = os.pidfd_open(pid)
        except OSError:  # ended since
            continue
        try:
            for number in numbers:
                fd = _libc.syscall(PIDFD_GETFD, process, number, 0)
                if fd < 0:
                    continue
                try:
                    if _is_xdp(fd):
                        yield fd
                finally:
                    os.close(fd)
        finally:
            os.close(process)


def _socket_numbers(pid: int, seen: set[str]) -> Iterator[int]:
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)  # noqa: PTH115 (the target is no path)
                if target.startswith("socket:[") and target not in seen:
                    seen.add(target)
                    yield int(entry.name)


def _is_xdp(fd: int) -> bool:
    domain = ctypes.c_int()
    length = ctypes.c_uint32(4)
    result = _libc.getsockopt(
        fd, socket.SOL_SOCKET, socket.SO_DOMAIN, ctypes.byref(domain), ctypes.byref(length)
    )
    return result == 0 and domain.value == AF_XDP
