# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Finds running forwarders by their statistics sockets, in every network namespace that we may look into."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forwarder.server import PREFIX, read
from xdp.netns import call_inside
from xdp.pyxdp.errors import InputError, KernelError


@dataclass(frozen=True)
class Address:
    """Where a forwarder can be asked.

    Attributes:
        name: a path, or an abstract name (@…).
        process: a process in the network namespace that the name belongs to; 0 for the caller's own.
    """

    name: str
    process: int = 0

    def read(self) -> dict[str, Any]:
        """One snapshot; its "netns" is the inode of the namespace, 0 where it is the caller's own.

        Raises:
            InputError: nothing answers there (any more), or not to us.
            KernelError: we may not enter the namespace.
        """
        if not self.process:
            return {**read(self.name), "netns": 0}
        try:
            fd = os.open(f"/proc/{self.process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{self.name}: its namespace is gone ({error.strerror})") from None
        try:
            message = call_inside(fd, f"of pid {self.process}", lambda: read(self.name))
            return {**message, "netns": os.fstat(fd).st_ino}
        finally:
            os.close(fd)


def running() -> list[Address]:
    """All forwarders with an abstract socket, those of the caller's own namespace first."""
    own = _inode("self")
    found = [Address(name) for name in _names("self")]
    seen = {own}
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208 (names)
        inode = _inode(str(entry))
        if inode and inode not in seen:
            seen.add(inode)
            found += [Address(name, entry) for name in _names(str(entry))]
    return found


def _inode(process: str) -> int:
    with contextlib.suppress(OSError):  # gone meanwhile, or not ours to see
        return Path("/proc", process, "ns/net").stat().st_ino
    return 0


def _names(process: str) -> Iterator[str]:
    """Our abstract names in the namespace of a process; each connection to one is listed there too."""
    try:
        lines = Path("/proc", process, "net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return
    yield from sorted({name for line in lines if (name := line.split(" ")[-1]).startswith(f"@{PREFIX}")})


def ask(addresses: list[Address]) -> dict[Address, dict[str, Any]]:
    """A snapshot of each that answers; those that ended meanwhile, or do not answer us, are left out."""
    answers: dict[Address, dict[str, Any]] = {}
    for address in addresses:
        with contextlib.suppress(InputError, KernelError):
            answers[address] = address.read()
    return answers
