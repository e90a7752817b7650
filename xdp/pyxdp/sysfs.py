# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The sysfs of the calling thread's network namespace, without mounting it anywhere.

/sys shows the devices of the namespace whose process mounted it. A mount of our own that hangs in no
directory tree shows ours, and goes with its descriptor.
"""

from __future__ import annotations

import ctypes
import os

from .errors import KernelError

# The same numbers on every architecture: they came after the tables were made one.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC, linux/mount.h
_FSCONFIG_CMD_CREATE = 6


def open_sysfs() -> int:
    """A descriptor of the root of a fresh sysfs, for `dir_fd`; the caller closes it.

    Raises:
        KernelError: EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.2.
    """
    context = _call("open a sysfs", _FSOPEN, b"sysfs", _CLOEXEC)
    try:
        _call("make a sysfs", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("mount a sysfs", _FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def _call(operation: str, number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise KernelError(operation, "sysfs", ctypes.get_errno(), hint="needs CAP_SYS_ADMIN: run as root")
    return int(result)
