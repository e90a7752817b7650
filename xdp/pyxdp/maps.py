# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Reading and writing the elements of a map by its fd; keys and values are bytes."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

from ._native import libbpf
from .errors import KernelError
from .kernel import MapInfo, MapType, possible_cpus


def value_bytes(info: MapInfo) -> int:
    """Bytes that a lookup writes: for per-CPU maps one value a possible CPU, each rounded up to 8."""
    if MapType(info.type).per_cpu:
        return (int(info.value_size) + 7) // 8 * 8 * possible_cpus()
    return int(info.value_size)


def lookup(fd: int, info: MapInfo, key: bytes) -> bytes | None:
    """The element's value, None if there is none.

    Raises:
        KernelError: EOPNOTSUPP for maps whose elements only BPF programs can read, such as an XSKMAP.
    """
    value = ctypes.create_string_buffer(value_bytes(info))
    result = libbpf().bpf_map_lookup_elem(fd, key, value)
    if result == -errno.ENOENT:
        return None
    if result:
        raise KernelError("look up", f"map {info.name} key {key.hex()}", result, hint=_hint(info, result))
    return value.raw


def update(fd: int, info: MapInfo, key: bytes, value: bytes, flags: int = 0) -> None:
    """Sets an element; flags: 0 any, 1 BPF_NOEXIST, 2 BPF_EXIST."""
    result = libbpf().bpf_map_update_elem(fd, key, value, flags)
    if result:
        raise KernelError("update", f"map {info.name} key {key.hex()}", result, hint=_hint(info, result))


def delete(fd: int, info: MapInfo, key: bytes) -> bool:
    """Removes an element; False if there was none."""
    result = libbpf().bpf_map_delete_elem(fd, key)
    if result == -errno.ENOENT:
        return False
    if result:
        raise KernelError("delete", f"map {info.name} key {key.hex()}", result, hint=_hint(info, result))
    return True


def keys(fd: int, info: MapInfo) -> Iterator[bytes]:
    """Walks the keys. An array-like map (an XSKMAP too) yields every index, occupied or not."""
    key: bytes | None = None
    following = ctypes.create_string_buffer(int(info.key_size))
    while True:
        result = libbpf().bpf_map_get_next_key(fd, key, following)
        if result == -errno.ENOENT:
            return
        if result:
            raise KernelError("walk keys", f"map {info.name}", result, hint=_hint(info, result))
        key = following.raw
        yield key


def create(map_type: MapType, name: str, key_size: int, value_size: int, max_entries: int) -> int:
    """Creates a map; gives its fd, which the caller closes."""
    fd: int = libbpf().bpf_map_create(map_type, name.encode(), key_size, value_size, max_entries, None)
    if fd < 0:
        raise KernelError("create map", f"{name} ({MapType(map_type).name})", fd)
    return fd


def _hint(info: MapInfo, result: int) -> str:
    if -result == errno.EOPNOTSUPP:
        return f"the kernel lets no process do this with a map of type {MapType(info.type).name}"
    if -result == errno.E2BIG:
        return f"the map has {info.max_entries} entries"
    return ""
