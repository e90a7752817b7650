# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Maps as Python sees them: mappings from integers to integers, per-CPU values summed."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, MutableMapping

from .pyxdp import kernel, maps
from .pyxdp.errors import InputError
from .pyxdp.kernel import MapType

_MMAPABLE = 1 << 10  # BPF_F_MMAPABLE, linux/bpf.h
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class TypedMap(MutableMapping[int, int]):
    """A map with integer keys and values, over an fd that somebody else owns.

    Per-CPU maps give the sum over all CPUs when read (`per_cpu` gives the parts); what is written goes
    to the first CPU, with all others set to 0, so that the sum is what was written.

    Args:
        fd: file descriptor of a map whose keys and values are 1, 2, 4 or 8 bytes wide.

    Raises:
        InputError: the fd is no map, or its keys or values are no integers.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.info = kernel.map_info(fd)
        try:
            self._key = struct.Struct("=" + _FORMATS[self.info.key_size])
            self._value = struct.Struct("=" + _FORMATS[self.info.value_size])
        except KeyError:
            raise InputError(
                f"map {self.info.name}: {self.info.key_size}-byte keys, {self.info.value_size}-byte values; "
                "only integers of 1, 2, 4 or 8 bytes are read as numbers"
            ) from None

    @property
    def id(self) -> int:
        """The kernel's id of the map."""
        return int(self.info.id)

    @property
    def name(self) -> str:
        """The kernel's name of the map, at most 15 characters."""
        return self.info.name

    @property
    def type(self) -> MapType:
        """The map's type."""
        return MapType(self.info.type)

    @property
    def max_entries(self) -> int:
        """Number of entries."""
        return int(self.info.max_entries)

    def _pack_key(self, key: int) -> bytes:
        try:
            return self._key.pack(key)
        except struct.error:
            raise InputError(
                f"{key} does not fit the {self.info.key_size}-byte key of map {self.name}"
            ) from None

    def per_cpu(self, key: int) -> list[int]:
        """The value of each possible CPU, or the one value of a map that is not per-CPU.

        Raises:
            KeyError: no such element.
        """
        raw = maps.lookup(self.fd, self.info, self._pack_key(key))
        if raw is None:
            raise KeyError(key)
        step = 8 if self.type.per_cpu else self._value.size
        return [self._value.unpack_from(raw, offset)[0] for offset in range(0, len(raw), step)]

    def __getitem__(self, key: int) -> int:
        return sum(self.per_cpu(key))

    def __setitem__(self, key: int, value: int) -> None:
        try:
            raw = self._value.pack(value)
        except struct.error:
            raise InputError(f"{value} does not fit the value of map {self.name}") from None
        maps.update(self.fd, self.info, self._pack_key(key), raw.ljust(maps.value_bytes(self.info), b"\0"))

    def __delitem__(self, key: int) -> None:
        if not maps.delete(self.fd, self.info, self._pack_key(key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[int]:
        for key in maps.keys(self.fd, self.info):
            yield int(self._key.unpack(key)[0])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{self.type.name} {self.name} id {self.id}, {self.max_entries} entries>"


def map_memory(fd: int) -> mmap.mmap:
    """Maps an array map's values into memory: element `i` starts at `i * round_up(value_size, 8)`.

    Raises:
        InputError: the map was not created with BPF_F_MMAPABLE.
    """
    info = kernel.map_info(fd)
    if not info.map_flags & _MMAPABLE:
        raise InputError(
            f"map {info.name} cannot be mapped: declare it with __uint(map_flags, BPF_F_MMAPABLE)"
        )
    size = (info.value_size + 7) // 8 * 8 * info.max_entries
    return mmap.mmap(fd, size)
