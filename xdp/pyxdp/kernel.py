# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel says of its BPF programs, maps and links: ids, infos, types."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
from collections.abc import Callable, Iterator
from ctypes import c_char, c_uint32, c_uint64
from typing import Any, TypeVar

from ._native import libbpf
from .errors import InputError, KernelError

_Info = TypeVar("_Info", bound=ctypes.Structure)


class _Open(enum.IntEnum):
    """An enumeration of the kernel: values newer than this file keep their number as their name."""

    @classmethod
    def _missing_(cls, value: object) -> _Open:
        if not isinstance(value, int):
            raise ValueError(value)
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"TYPE_{value}", value
        return member


class MapType(_Open):
    """enum bpf_map_type (linux/bpf.h), what we name of it."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    DEVMAP_HASH = 25
    RINGBUF = 27

    @property
    def per_cpu(self) -> bool:
        """True where a lookup gives one value a possible CPU."""
        return self in (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)


class ProgType(_Open):
    """enum bpf_prog_type (linux/bpf.h), what we name of it."""

    UNSPEC = 0
    SOCKET_FILTER = 1
    KPROBE = 2
    SCHED_CLS = 3
    TRACEPOINT = 5
    XDP = 6
    SOCK_OPS = 13
    SK_SKB = 14
    SK_MSG = 16
    RAW_TRACEPOINT = 17
    TRACING = 26
    EXT = 28
    LSM = 29
    SYSCALL = 31


class MapInfo(ctypes.Structure):
    """struct bpf_map_info (linux/bpf.h), up to the device."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("raw_name", c_char * 16),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("pad", c_uint32),
        ("map_extra", c_uint64),
    )

    @property
    def name(self) -> str:
        """At most 15 characters."""
        return str(self.raw_name.decode())


class ProgInfo(ctypes.Structure):
    """struct bpf_prog_info (linux/bpf.h), up to its functions (Linux 5.0); older kernels leave the rest 0."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("raw_name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
    )

    @property
    def name(self) -> str:
        """At most 15 characters."""
        return str(self.raw_name.decode())


class LinkInfo(ctypes.Structure):
    """struct bpf_link_info (linux/bpf.h), with XDP's part."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),
        ("xdp_ifindex", c_uint32),
        ("rest", c_uint32 * 11),
    )


def _info(fd: int, into: _Info, what: str) -> _Info:
    length = c_uint32(ctypes.sizeof(into))
    result = libbpf().bpf_obj_get_info_by_fd(fd, ctypes.byref(into), ctypes.byref(length))
    if result:
        raise KernelError(f"read {what} info", f"fd {fd}", result, hint=f"the fd must be a BPF {what}")
    return into


def _kind(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 (the target is no path)
    except OSError:
        return "not open"


def map_info(fd: int) -> MapInfo:
    """Info of a map.

    Raises:
        InputError: the fd is no BPF map.
    """
    if _kind(fd) != "anon_inode:bpf-map":  # info calls on other BPF fds would fill another struct
        raise InputError(f"fd {fd} is no BPF map ({_kind(fd)})")
    return _info(fd, MapInfo(), "map")


def prog_info(fd: int) -> ProgInfo:
    """Info of a program.

    Raises:
        InputError: the fd is no BPF program.
    """
    if _kind(fd) != "anon_inode:bpf-prog":
        raise InputError(f"fd {fd} is no BPF program ({_kind(fd)})")
    return _info(fd, ProgInfo(), "program")


def prog_counted(fd: int, what: str) -> int | None:
    """What the kernel counts of a program: "run_cnt", "recursion_misses"; None where it does not."""
    with open(f"/proc/self/fdinfo/{fd}") as lines:  # noqa: PTH123 (a forwarder starts without pathlib)
        for line in lines:
            name, _, value = line.partition(":")
            if name == what:
                return int(value)
    return None


def prog_map_ids(fd: int) -> list[int]:
    """Ids of the maps that a program uses."""
    count = prog_info(fd).nr_map_ids
    ids = (c_uint32 * max(count, 1))()
    info = ProgInfo(nr_map_ids=count, map_ids=ctypes.addressof(ids))
    _info(fd, info, "program")
    return list(ids[: info.nr_map_ids])


def prog_function_types(fd: int) -> list[int]:
    """The BTF types of a program's functions, its own first; none where it was loaded without BTF."""
    known = prog_info(fd)
    size, count = int(known.func_info_rec_size), int(known.nr_func_info)
    records = (c_uint32 * max(size * count // 4, 1))()
    asked = ProgInfo(func_info_rec_size=size, nr_func_info=count, func_info=ctypes.addressof(records))
    _info(fd, asked, "program")
    return list(records[1 : size * count // 4 : size // 4]) if count else []  # struct bpf_func_info


def link_info(fd: int) -> LinkInfo:
    """Info of a link."""
    return _info(fd, LinkInfo(), "link")


def _ids(next_id: Callable[..., int]) -> Iterator[int]:
    current = c_uint32(0)
    while True:
        result = next_id(current, ctypes.byref(current))
        if result == -errno.ENOENT:
            return
        if result:
            raise KernelError("list BPF objects", "ids", result, hint="needs CAP_SYS_ADMIN: run as root")
        yield current.value


def map_ids() -> Iterator[int]:
    """Ids of all maps of the system, ascending."""
    return _ids(libbpf().bpf_map_get_next_id)


def prog_ids() -> Iterator[int]:
    """Ids of all programs of the system, ascending."""
    return _ids(libbpf().bpf_prog_get_next_id)


def link_ids() -> Iterator[int]:
    """Ids of all BPF links of the system, ascending."""
    return _ids(libbpf().bpf_link_get_next_id)


@contextlib.contextmanager
def _opened(by_id: Callable[[int], int], number: int, what: str) -> Iterator[int]:
    if not 0 < number < 1 << 32:
        raise InputError(f"{number} is no {what} id; ids are positive 32-bit numbers")
    fd = by_id(number)
    if fd == -errno.ENOENT:
        raise InputError(
            f"there is no BPF {what} with id {number}; list them with bpftool {what[:4].strip()} show"
        )
    if fd == -errno.EAGAIN:  # a link has its id before it is attached: bpf_link_by_id(), kernel/bpf/syscall.c
        raise InputError(f"the BPF {what} with id {number} is just being made; try again")
    if fd < 0:
        raise KernelError(f"open {what}", f"id {number}", fd, hint="needs CAP_SYS_ADMIN: run as root")
    try:
        yield fd
    finally:
        os.close(fd)


def map_by_id(number: int) -> Any:
    """Context manager: an fd of the map with this id.

    Raises:
        InputError: no such map.
        KernelError: not allowed.
    """
    return _opened(libbpf().bpf_map_get_fd_by_id, number, "map")


def prog_by_id(number: int) -> Any:
    """Context manager: an fd of the program with this id; errors as `map_by_id`."""
    return _opened(libbpf().bpf_prog_get_fd_by_id, number, "program")


def link_by_id(number: int) -> Any:
    """Context manager: an fd of the link with this id; errors as `map_by_id`."""
    return _opened(libbpf().bpf_link_get_fd_by_id, number, "link")


def pin(fd: int, path: str) -> None:
    """Pins a program, map or link on a bpffs."""
    result = libbpf().bpf_obj_pin(fd, os.fsencode(path))
    if result:
        raise KernelError(
            "pin", path, result, hint="the folder must lie on a mounted bpffs, the name be free"
        )


def open_pin(path: str) -> int:
    """A new fd of what is pinned at the path.

    Raises:
        InputError: nothing is pinned there.
    """
    fd: int = libbpf().bpf_obj_get(os.fsencode(path))
    if fd in (-errno.ENOENT, -errno.ENOTDIR):
        raise InputError(f"nothing is pinned at {path}")
    if fd < 0:
        raise KernelError("open pin", path, fd, hint="the path must be a pinned BPF object on a bpffs")
    return fd


def possible_cpus() -> int:
    """Number of CPUs that per-CPU values are stored for."""
    return int(libbpf().libbpf_num_possible_cpus())
