# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A network namespace that is there already: the caller's own, or one by name, path, or a process in it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from labs.harness.netns import NetNs
from labs.harness.runs import NAMESPACE_DIRECTORY
from xdp.pyxdp.errors import InputError


class ExistingNs(NetNs):
    """Holds a namespace open, and leaves it as it was; a context manager.

    Args:
        where: None for the caller's own; a name below /run/netns; a path; or a process id.

    Raises:
        InputError: there is none.
    """

    # Not NetNs's own construction, which makes a new namespace.
    def __init__(self, where: str | None = None) -> None:
        path = _path(where)
        self.role = where or "this namespace"
        self.run, self.name, self.ipv6 = "", str(path), True
        self._undo = contextlib.ExitStack()
        self._pin = None
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            names = ", ".join(sorted(entry.name for entry in NAMESPACE_DIRECTORY.glob("*"))) or "none"
            raise InputError(
                f"no network namespace {where!r} ({error.strerror}): give a name ({names}), a path, "
                "or the id of a process in it"
            ) from None
        self._undo.callback(self._close_fd)
        self.inode = os.fstat(self._fd).st_ino


def _path(where: str | None) -> Path:
    if where is None:
        return Path("/proc/thread-self/ns/net")
    if where.isdecimal():
        return Path("/proc", where, "ns/net")
    return Path(where) if "/" in where else NAMESPACE_DIRECTORY / where
