# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Entering a network namespace: devices, links and sockets are always those of the calling thread's."""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
from collections.abc import Callable
from typing import TypeVar

from .pyxdp.errors import KernelError

_Result = TypeVar("_Result")
CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def enter(fd: int, name: str) -> None:
    """Moves the calling thread, and no other, into a namespace (os.setns exists since Python 3.12).

    Raises:
        KernelError: not allowed, or the descriptor is no network namespace (EINVAL).
    """
    if _libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        hints = {errno.EPERM: "run as root", errno.EINVAL: "is it a network namespace?"}
        raise KernelError("enter network namespace", name, number, hints.get(number, ""))


def call_inside(fd: int, name: str, call: Callable[[], _Result]) -> _Result:
    """Calls in a thread of its own, which ends there: nobody else's namespace changes."""

    def inside() -> _Result:
        enter(fd, name)
        return call()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(inside).result()
