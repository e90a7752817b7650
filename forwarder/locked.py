# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Memory that must not be paged out: how much of it, and what to do where the kernel gives less.

A UMEM's pages are pinned by the kernel and count against RLIMIT_MEMLOCK unless the process has CAP_IPC_LOCK
(xdp_umem_account_pages, net/xdp/xdp_umem.c). The rest of the process is locked only if that is asked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource

from xdp.pyxdp.errors import KernelError

from .privileges import CAP_IPC_LOCK, has_capability
from .spec import ForwarderSpec

# asm-generic/mman.h
MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4


def lock(how: str, *, keep_privileges: bool) -> str:
    """Locks this process's memory; before privileges are dropped, and before threads are started.

    What is mapped later is locked too where no limit can make that fail: a mapping (a thread's stack) that
    does not fit under the limit would be refused altogether.

    Args:
        how: "none"; "all": everything, at once; "on-fault": each page from its first use on.
        keep_privileges: capabilities stay.

    Returns:
        "none", "current" or "current and future".

    Raises:
        KernelError: the limit is too low.
    """
    if how == "none":
        return "none"
    future = (keep_privileges and has_capability(CAP_IPC_LOCK)) or _unlimited()
    flags = MCL_CURRENT | (MCL_FUTURE if future else 0) | (MCL_ONFAULT if how == "on-fault" else 0)
    if ctypes.CDLL(None, use_errno=True).mlockall(flags):
        number = ctypes.get_errno()
        raise KernelError("lock memory", f"--lock-memory {how}", number, _hint(_mapped(), "leave it out"))
    return "current and future" if future else "current"


def explained(error: KernelError, spec: ForwarderSpec) -> KernelError:
    """The refusal of a UMEM for want of locked memory with the figures; any other error as it is."""
    if error.errno != errno.ENOBUFS or error.operation != "register UMEM":
        return error
    needed = len(spec.queues) * (1 + len(spec.also)) * spec.frames * spec.frame_size
    return KernelError(error.operation, error.object, errno.ENOBUFS, _hint(needed, "use fewer --frames"))


def _hint(needed: int, instead: str) -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return (
        f"{needed:,} bytes must be locked, and RLIMIT_MEMLOCK is {limit:,} for all processes of the user "
        f"together: raise it (ulimit -l, LimitMEMLOCK=), give CAP_IPC_LOCK, or {instead}"
    )


def _unlimited() -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):  # needs CAP_SYS_RESOURCE, which root may lack
        return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    return True


def _mapped() -> int:
    """Bytes that this process has mapped, which is what mlockall() counts."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (pathlib is dear at start)
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
