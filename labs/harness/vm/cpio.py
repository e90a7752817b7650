# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The archive that the kernel unpacks as its first root file system: cpio's "newc" format.

See Documentation/driver-api/early-userspace/buffer-format.rst. Written here, as it is a page of code, and the
alternative is one more package to install and a folder on disk to fill and to remove.
"""

from __future__ import annotations

import stat

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"


class Archive:
    """Folders, files and devices in memory; `data` is the archive."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0

    def folder(self, name: str) -> None:
        """An empty folder."""
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, content: bytes, *, executable: bool = False) -> None:
        """A file."""
        self._add(name, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        """A node of a character device."""
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    @property
    def data(self) -> bytes:
        """All of it, closed by the trailer."""
        return b"".join(self._parts) + _entry(_TRAILER, 0, 0, b"", (0, 0))

    def _add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        self._parts.append(_entry(name, mode, self._inode, content, device))


def _entry(name: str, mode: int, inode: int, content: bytes, device: tuple[int, int]) -> bytes:
    path = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    head = (_MAGIC + "".join(f"{field:08x}" for field in fields)).encode()
    return _padded(head + path) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
