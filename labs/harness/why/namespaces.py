# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All network namespaces of the system that can be entered: of processes, by name, held by a descriptor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from labs.harness.netns import NetNs
from labs.harness.runs import NAMESPACE_DIRECTORY
from xdp.pyxdp.errors import InputError

MAX_NAMESPACES = 512


class ForeignNs(NetNs):
    """A network namespace that somebody else made; closing lets go of it.

    Args:
        path: of the namespace.
        place: how people call it; "" for the caller's own.
        enter: what to write before a command so that it runs there.

    Raises:
        InputError: it is gone, or no namespace.
    """

    def __init__(self, path: str, place: str, enter: str) -> None:
        self.role = place or "this namespace"
        self.run = ""
        self.name = self.place = place
        self.enter = enter
        self.ipv6 = True
        self._undo = contextlib.ExitStack()
        self._pin: Path | None = None
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"network namespace {path} cannot be opened: {error.strerror}") from None
        self._undo.callback(self._close_fd)
        self.inode = os.fstat(self._fd).st_ino


class Namespaces:
    """Those that there were at construction, the caller's own first; a context manager.

    Namespaces that only a descriptor keeps alive, as a test harness makes them, are found too.
    """

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self.by_inode: dict[int, ForeignNs] = {}
        with contextlib.ExitStack() as undo:
            for path, place, enter in _paths():
                if len(self.by_inode) >= MAX_NAMESPACES:
                    break
                with contextlib.suppress(OSError):
                    inode = Path(path).stat().st_ino
                    if inode in self.by_inode:
                        continue
                    with contextlib.suppress(InputError):
                        found = ForeignNs(path, place, enter)
                        undo.callback(found.close)
                        self.by_inode[inode] = found
            self._undo = undo.pop_all()

    @property
    def own(self) -> ForeignNs:
        """The calling thread's, as it was."""
        return next(iter(self.by_inode.values()))

    def find(self, name: str) -> ForeignNs:
        """By the name that `ip netns` knows, the id of a process, or a path.

        Raises:
            InputError: there is none.
        """
        path = Path(name) if "/" in name else NAMESPACE_DIRECTORY / name
        if not path.exists() and name.isdigit():
            path = Path("/proc") / name / "ns" / "net"
        try:
            return self.by_inode[path.stat().st_ino]
        except (OSError, KeyError):
            raise InputError(
                f"there is no network namespace {name}; "
                "give a name of `ip netns`, the id of a process in it, or a path"
            ) from None

    def close(self) -> None:
        """Lets go of all. Idempotent."""
        self._undo.close()

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _paths() -> Iterator[tuple[str, str, str]]:
    """Path, name and way in; a namespace may come several times, under its best name first."""
    yield "/proc/thread-self/ns/net", "", ""
    with contextlib.suppress(OSError):
        for named in sorted(NAMESPACE_DIRECTORY.iterdir()):
            yield str(named), named.name, f"ip netns exec {named.name} "
    with os.scandir("/proc") as entries:
        pids = [entry.name for entry in entries if entry.name.isdigit()]
    for pid in pids:
        yield f"/proc/{pid}/ns/net", f"netns of pid {pid}", f"nsenter -t {pid} -n "
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path).startswith("net:["):  # noqa: PTH115 (the target is no path)
                        yield entry.path, f"netns held by pid {pid}", f"nsenter --net={entry.path} "
