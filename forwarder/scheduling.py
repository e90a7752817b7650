# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The priority of the queues' threads, given to them by inheritance: privileges are gone when they start."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from xdp.pyxdp.errors import InputError

FIFO = (1, 99)  # sched(7)
NICE = (-20, 19)


def parse(text: str) -> tuple[str, int]:
    """`fifo:50` or `nice:-10` as policy and number.

    Raises:
        InputError: it is neither.
    """
    match = re.fullmatch(r"(fifo|nice):(-?\d{1,3})", text)
    least, most = FIFO if match and match[1] == "fifo" else NICE
    if not match or not least <= int(match[2]) <= most:
        raise InputError(
            f"--priority {text}: write fifo:{FIFO[0]} to fifo:{FIFO[1]} (real time, 99 is the highest) "
            f"or nice:{NICE[0]} to nice:{NICE[1]} (-20 is the highest)"
        )
    return match[1], int(match[2])


@contextlib.contextmanager
def inherited(text: str) -> Iterator[None]:
    """Threads that are started within have this priority; the calling thread has it only meanwhile.

    Raises:
        InputError: the kernel does not allow it.
    """
    if not text:
        yield
        return
    policy, number = parse(text)
    # The way back needs no privilege: from real time to normal, from a low nice value to a higher one.
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        if policy == "fifo":
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(number))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, number)
    except PermissionError:
        limit = "RLIMIT_RTPRIO (ulimit -r)" if policy == "fifo" else "RLIMIT_NICE (ulimit -e)"
        raise InputError(
            f"--priority {text}: not allowed without CAP_SYS_NICE or a higher {limit}: "
            "run as root, raise the limit, or leave --priority out"
        ) from None
    try:
        yield
    finally:
        if policy == "fifo":
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        else:
            with contextlib.suppress(PermissionError):  # it was lowered, and stays low
                os.setpriority(os.PRIO_PROCESS, 0, before)


def of_thread(thread: int) -> str:
    """The priority that a thread has, as `parse` takes it.

    Args:
        thread: its id in the kernel (`threading.Thread.native_id`).
    """
    if os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
        return f"fifo:{os.sched_getparam(thread).sched_priority}"
    return f"nice:{os.getpriority(os.PRIO_PROCESS, thread)}"
