# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Who holds a socket, and what a network namespace is called: answers that /proc and /run/netns give."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from .xskmap_model import Owner

_NAMES = Path("/run/netns")  # where iproute2 binds named namespaces


def owners(inodes: Collection[int]) -> dict[int, tuple[Owner, ...]]:
    """Inode of a socket → the processes that have it open, by pid.

    Only processes of the caller's PID namespace are seen, and without root only the caller's own.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, dict[int, Owner]] = {inode: {} for inode in inodes}
    for pid in _pids() if wanted else ():
        for target in _targets(pid):
            inode = wanted.get(target)
            if inode is not None and pid not in found[inode]:
                found[inode][pid] = _owner(pid)
    return {inode: tuple(by_pid[pid] for pid in sorted(by_pid)) for inode, by_pid in found.items()}


def namespace_names() -> dict[int, str]:
    """Inode → name, of the network namespaces that `ip netns` names."""
    names: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for path in sorted(_NAMES.iterdir()):
            with contextlib.suppress(OSError):  # removed meanwhile
                names.setdefault(path.stat().st_ino, path.name)
    return names


def _pids() -> Iterator[int]:
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def _targets(pid: int) -> Iterator[str]:
    # os.scandir, not Path.iterdir: a machine may have 100,000 open files.
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(entry.path)  # noqa: PTH115 (the target is no path)


def _owner(pid: int) -> Owner:
    name = command = ""
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        command = raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Owner(pid, name, command or name)
