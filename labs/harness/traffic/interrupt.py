# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Ends a system call in another thread by a signal, from any thread, without Python's signal handling.

Python lets only the main thread install handlers, and runs them there. A call in another thread ends with
EINTR if that thread gets a signal that has any handler at all: so one of libc's own functions is it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import signal
import threading

from xdp.pyxdp.errors import KernelError

# One of the real-time signals that neither libc (it keeps the first two) nor Python uses.
_NUMBER = signal.SIGRTMIN + 7

_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.restype = ctypes.c_void_p
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)


@functools.cache
def _install() -> None:
    """For good: a signal that is still under way when the old handler is back would end the process."""
    nothing = ctypes.cast(_libc.getpid, ctypes.c_void_p)  # async-signal-safe, takes nothing, does nothing
    _libc.signal(_NUMBER, nothing)


def interrupt(thread: threading.Thread) -> None:
    """Ends the system call that the thread is in; one that has ended already is no error.

    A thread that is not yet in its call does not notice: send again until it has ended.
    """
    _install()
    if thread.native_id is None:
        return
    # Not pthread_kill, which must not be given a thread that is gone.
    if _libc.tgkill(os.getpid(), thread.native_id, _NUMBER) and ctypes.get_errno() != errno.ESRCH:
        raise KernelError("interrupt thread", thread.name, ctypes.get_errno())
