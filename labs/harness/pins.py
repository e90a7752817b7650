# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Pins that cannot be left behind: on a bpffs that is mounted nowhere.

It goes with its last descriptor. Programs that know nothing of us take maps by path: children that inherit
the descriptor open the path that `pin` gives; others find the pins at /proc/<our pid>/fd/<number>/<name>.
"""

from __future__ import annotations

import ctypes
import os

from xdp.pyxdp import kernel
from xdp.pyxdp.errors import KernelError

# asm-generic/unistd.h, the same on every architecture; Linux 5.2
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, linux/mount.h
_CONFIG_CREATE = 6  # FSCONFIG_CMD_CREATE, linux/mount.h
_libc = ctypes.CDLL(None, use_errno=True)


class PinFolder:
    """A folder for pins; a context manager.

    Attributes:
        fd: descriptor of the folder; give it to a child with `pass_fds`.

    Raises:
        KernelError: no bpffs, not root (EPERM).
    """

    def __init__(self) -> None:
        context = _syscall(_FSOPEN, ctypes.c_char_p(b"bpf"), _CLOEXEC)
        try:
            _syscall(_FSCONFIG, context, _CONFIG_CREATE, None, None, 0)
            self.fd = _syscall(_FSMOUNT, context, _CLOEXEC, 0)
        finally:
            os.close(context)

    def pin(self, fd: int, name: str) -> str:
        """Pins a map, program or link; gives its path, good here and in children that inherit `fd`."""
        path = f"/proc/self/fd/{self.fd}/{name}"
        kernel.pin(fd, path)
        return path

    def close(self) -> None:
        """Lets go of the folder; the pins go with the last child that holds it. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> PinFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _syscall(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        hint = "needs CAP_SYS_ADMIN: run as root"
        raise KernelError("make a bpffs", "for pins", ctypes.get_errno(), hint)
    return result
