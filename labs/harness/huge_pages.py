# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Huge pages for a lab: reserved for as long as it runs, given back whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from forwarder.guard import Guard
from labs.harness.patience import patient
from xdp.pyxdp.errors import InputError

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
TURN_S = 120.0  # a lab beside this one has them for as long as it runs


class HugePages:
    """So many free pages of 2 MiB beyond those that are reserved already; a context manager.

    Only one process at a time has some, as what was there before is a number that another's would change.

    Args:
        count: how many.

    Raises:
        InputError: they cannot be had, with the reason.
    """

    def __init__(self, count: int) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            try:
                fd = os.open(POOL / "nr_hugepages", os.O_RDWR | os.O_CLOEXEC)
                on_error.callback(os.close, fd)
                _await_turn(fd)
                before = int(os.pread(fd, 32, 0))
                free = free_pages()
                # Its own copy of the descriptor keeps the lock until it has written.
                on_error.callback(Guard(writes=[(fd, str(before))]).close)
                os.pwrite(fd, str(before + count).encode(), 0)
            except OSError as error:
                raise InputError(f"no huge pages can be reserved here: {error}") from error
            got = free_pages() - free
            if got < count:
                raise InputError(f"of {count} huge pages the kernel reserved {got}: memory is too scattered")
            self._undo.push(on_error.pop_all())

    def close(self) -> None:
        """Gives them back; those still in use go when their user does; may be called again."""
        self._undo.close()

    def __enter__(self) -> HugePages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def free_pages() -> int:
    """How many are reserved and used by nobody."""
    return int((POOL / "free_hugepages").read_text())


def reserved_pages() -> int:
    """How many there are, used or not."""
    return int((POOL / "nr_hugepages").read_text())


def _await_turn(fd: int) -> None:
    deadline = time.monotonic() + patient(TURN_S)
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise InputError("another process has reserved huge pages for its own labs") from None
            time.sleep(0.05)
