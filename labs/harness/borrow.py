# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A socket of another process, borrowed for a moment, to be put into a slot of an XSKMAP."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from xdp.pyxdp.errors import InputError, KernelError

_PIDFD_GETFD = 438  # asm-generic/unistd.h, the same on every architecture; Linux 5.6
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def borrowed_socket(pid: int, inode: int) -> Iterator[int]:
    """A descriptor of ours for the socket with this inode; closed at the end, so that it outlives nobody.

    Raises:
        InputError: the process holds no such socket.
        KernelError: not allowed (needs CAP_SYS_PTRACE).
    """
    number = _number_of(pid, inode)
    process = os.pidfd_open(pid)
    try:
        fd = _libc.syscall(_PIDFD_GETFD, process, number, 0)
        if fd < 0:
            raise KernelError("borrow socket", f"fd {number} of pid {pid}", ctypes.get_errno())
    finally:
        os.close(process)
    try:
        yield fd
    finally:
        os.close(fd)


def _number_of(pid: int, inode: int) -> int:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()) == f"socket:[{inode}]":
                return int(entry.name)
    raise InputError(f"process {pid} holds no socket with inode {inode}")
