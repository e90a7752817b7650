# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Reads what an XSKMAP holds, of any process: each slot's socket, its rings, its UMEM, its drops, its owner.

No system call tells this: a lookup from user space fails with EOPNOTSUPP, and a walk of the keys yields every
index, occupied or not. So a BPF program looks (`src/xsk_reader.bpf.c`). Where the kernel has no BTF another
program still tells which slots are occupied (`src/xsk_probe.bpf.c`). Which maps there are: `xskmap_find`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import os
import struct
from collections.abc import Iterator
from importlib import resources

from .maps import map_memory
from .pyxdp import kernel, run
from .pyxdp.bpf import BpfObject
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError
from .xskmap_model import (
    MapEntry,
    NetNamespace,
    Owner,
    ProgramRef,
    RingLevel,
    Slot,
    SocketInfo,
    Statistics,
    Umem,
    XskMap,
)
from .xskmap_owner import namespace_names, owners
from .xskmap_record import READ_SOCKETS, SCAN_SLOTS, Record, decode

__all__ = [
    "METHODS",
    "MapEntry",
    "NetNamespace",
    "Owner",
    "ProgramRef",
    "Reader",
    "RingLevel",
    "Slot",
    "SocketInfo",
    "Statistics",
    "Umem",
    "XskMap",
    "needs_root",
    "read_xskmap",
]

METHODS = ("auto", "btf", "probe")
_OBJECTS = {"btf": "xsk_reader", "probe": "xsk_probe"}
_READERS = ("xskmap_scan", "xskmap_sockets")  # functions of src/xsk_reader.bpf.c and src/xsk_probe.bpf.c
_PACKET = bytes(14)  # a test run of an XDP program wants an Ethernet header; the probe does not look at it


@contextlib.contextmanager
def needs_root() -> Iterator[None]:
    """Turns the kernel's refusal of the unprivileged into one sentence that says what to do."""
    try:
        yield
    except KernelError as error:
        if error.errno not in (errno.EPERM, errno.EACCES) or os.geteuid() == 0:
            raise
        raise InputError("reading XSKMAPs needs root (CAP_SYS_ADMIN): run it with sudo") from error


class Reader:
    """Reads one XSKMAP again and again; a context manager.

    Making one costs tens of milliseconds (the kernel's BTF is parsed, the programs are verified), a read one
    to ten, by the number of slots, sockets and processes. While it is open it keeps the map alive, though not
    the sockets in it.

    Args:
        map_id: id of the map; or
        fd: a file descriptor of it, which stays the caller's.
        method: "btf" reads everything, "probe" which slots are occupied only, "auto" the best that works.

    Raises:
        InputError: no such map, no XSKMAP, not root.
        KernelError: the kernel refused the reader.
    """

    def __init__(self, *, map_id: int | None = None, fd: int | None = None, method: str = "auto") -> None:
        self._object: BpfObject | None = None
        if method not in METHODS:
            raise InputError(f"method {method!r} does not exist; there are {', '.join(METHODS)}")
        if (map_id is None) == (fd is None):
            raise InputError("say which XSKMAP to read by its id or by a file descriptor, one of the two")
        with needs_root():
            if fd is not None:
                self._open(fd, method)
            elif map_id is not None:
                with kernel.map_by_id(map_id) as own:
                    self._open(own, method)

    def _open(self, fd: int, method: str) -> None:
        info = kernel.map_info(fd)
        kind = kernel.MapType(info.type)
        if kind != kernel.MapType.XSKMAP:
            raise InputError(
                f"map {info.id} ({info.name}) is of type {kind.name}, no XSKMAP; "
                "list the XSKMAPs of the system with: xdplab xskmap --all"
            )
        self.map_id, self.name, self.max_entries = int(info.id), info.name, int(info.max_entries)
        self.method, self.note = "btf" if method == "auto" else method, ""
        try:
            self._load(fd)
        except (InputError, KernelError) as error:
            if method != "auto" or (isinstance(error, KernelError) and error.errno == errno.EPERM):
                raise
            self.method, self.note = "probe", f"the BTF reader does not work on this kernel: {error}"
            self._load(fd)

    def _load(self, fd: int) -> None:
        name = _OBJECTS[self.method]
        if self.method == "btf" and not os.path.exists("/sys/kernel/btf/vmlinux"):  # noqa: PTH110 (cheap)
            Btf().close()  # says in one sentence that there is none, also where libbpf looks besides
        source = (resources.files("xdp") / "objects" / f"{name}.bpf.o").read_bytes()
        loaded = BpfObject(source, name=name)
        try:
            loaded.maps["xsks_map"].reuse_fd(fd)
            loaded.load()
            self._memory = map_memory(loaded.maps[next(m for m in loaded.maps if m.endswith(".bss"))].fd)
            with Btf(loaded.btf) as btf:
                self._at = {name: member.offset for name, member in btf.variables(".bss").items()}
        except BaseException:
            loaded.close()
            raise
        self._object = loaded

    def read(self, *, with_owners: bool = True) -> XskMap:
        """The map as it is now.

        Nothing is locked: slots are looked at one after the other, and a socket's members too while it works.

        Args:
            with_owners: search /proc for the processes that hold the sockets (a few milliseconds).

        Raises:
            InputError: the reader is closed.
            KernelError: the run of the reader was refused.
        """
        if self._object is None:
            raise InputError(f"the reader of XSKMAP {self.map_id} is closed")
        with needs_root():
            full = self._scan()
            sockets = self._sockets(full) if self.method == "btf" else {}
            programs = programs_of_map(self.map_id)
        if self.method == "btf":
            full = list(sockets)  # a slot may have turned empty since the scan
            sockets = _complete(sockets, with_owners)
        occupied = set(full)
        slots = tuple(Slot(i, i in occupied, sockets.get(i)) for i in range(self.max_entries))
        return XskMap(self.map_id, self.name, self.max_entries, self.method, self.note, programs, slots)

    def _run(self, program: str) -> None:
        if self._object is None:
            raise InputError("the reader is closed")
        run.run(self._object.programs[program].fd, _PACKET if self.method == "probe" else None)

    def _put(self, name: str, *values: int) -> None:
        start = self._at[name]
        self._memory[start : start + 4 * len(values)] = struct.pack(f"={len(values)}I", *values)

    def _scan(self) -> list[int]:
        start, found = self._at["occupied"], []
        for first in range(0, self.max_entries, SCAN_SLOTS):
            self._put("scan_first", first)
            self._run("xskmap_scan")
            answer = bytes(self._memory[start : start + min(SCAN_SLOTS, self.max_entries - first)])
            if any(answer):
                found += [first + i for i, one in enumerate(answer) if one]
        return found

    def _sockets(self, slots: list[int]) -> dict[int, SocketInfo]:
        start = self._at["records"]
        found: dict[int, SocketInfo] = {}
        for first in range(0, len(slots), READ_SOCKETS):
            some = slots[first : first + READ_SOCKETS]
            size = ctypes.sizeof(Record) * len(some)
            self._memory[start : start + size] = bytes(size)
            self._put("read_count", len(some))
            self._put("read_slots", *some)
            self._run("xskmap_sockets")
            records = (Record * len(some)).from_buffer_copy(self._memory[start : start + size])
            found |= {record.slot: decode(record) for record in records if record.occupied}
        return found

    def close(self) -> None:
        """Unloads the reader and lets go of the map."""
        loaded, self._object = self._object, None
        if loaded:
            self._memory.close()
            loaded.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_xskmap(
    *, map_id: int | None = None, fd: int | None = None, method: str = "auto", with_owners: bool = True
) -> XskMap:
    """The XSKMAP with this id, or of this file descriptor, as it is now.

    Raises:
        InputError: no such map, no XSKMAP, not root.
        KernelError: the kernel refused the reader.
    """
    with Reader(map_id=map_id, fd=fd, method=method) as reader:
        return reader.read(with_owners=with_owners)


def programs_of_map(map_id: int) -> tuple[ProgramRef, ...]:
    """The loaded programs that use the map; readers such as ours are none of them."""
    found = []
    for prog_id in kernel.prog_ids():
        with contextlib.suppress(InputError), kernel.prog_by_id(prog_id) as fd:  # unloaded meanwhile
            info = kernel.prog_info(fd)
            if info.name not in _READERS and map_id in kernel.prog_map_ids(fd):
                found.append(ProgramRef(prog_id, info.name))
    return tuple(found)


def _complete(sockets: dict[int, SocketInfo], with_owners: bool) -> dict[int, SocketInfo]:
    """Adds what the kernel does not tell by itself: names of namespaces, owners."""
    if not sockets:
        return {}
    names = namespace_names()
    held = owners({socket.inode for socket in sockets.values()}) if with_owners else {}
    return {
        slot: dataclasses.replace(
            socket,
            netns=dataclasses.replace(socket.netns, name=names.get(socket.netns.inode, socket.netns.name)),
            owners=held.get(socket.inode, ()),
        )
        for slot, socket in sockets.items()
    }
