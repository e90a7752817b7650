# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Counts what the kernel itself says of frames, through its tracepoints (`src/watch.bpf.c`).

A redirect that fails is counted by no link and by few drivers: the tracepoint alone tells the errno, and the
errno tells the cause. What the stack drops is told by reason and place. The ledger watches drops in its own
namespaces only; `xdplab why` watches XDP on the whole system, as the pipeline is somebody else's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Collection, Mapping
from ctypes import c_uint32, c_uint64
from importlib import resources

from .pyxdp import kernel, maps, tracepoint
from .pyxdp.bpf import BpfObject
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError
from .watch_events import KINDS, Drop, Event
from .watch_names import TRACEPOINTS, function, of_kernel, reason

UNKNOWN = "unknown"  # the device of a packet that had none (any more) when it was dropped
NAMESPACES = 8  # WATCH_NAMESPACES
COUNT = struct.Struct("=Q16s")  # struct watch_count: frames, device
DROPS = ("skb", "exception", "redirect_err", "devmap_xmit")
XDP = ("redirect", "redirect_err", "exception", "devmap_xmit")  # costs 100 ns a redirected frame

_NO_MAP = 0x7FFFFFFF  # what the kernel reports as the map of a plain bpf_redirect(), net/core/filter.c
# The arguments that the programs rely on; the first, no argument of the tracepoint, is not counted.
_REDIRECT = (
    {0: "net_device", 1: "bpf_prog", 3: "int", 5: "unsigned int", 6: "unsigned int"},
    {0: "net_device", 1: "bpf_prog", 3: "int", 4: "bpf_map", 5: "unsigned int"},  # until Linux 5.12
)
_ARGUMENTS: dict[str, tuple[dict[int, str], ...]] = {
    "watch_skb": ({0: "sk_buff"},),
    "watch_exception": ({0: "net_device", 1: "bpf_prog", 2: "unsigned int"},),
    "watch_redirect": _REDIRECT,
    "watch_redirect_err": _REDIRECT,
    "watch_devmap_xmit": ({0: "net_device", 1: "net_device", 2: "int", 3: "int", 4: "int"},),
}

Key = tuple[str, str, str, str]


class EventRecord(ctypes.Structure):
    """`struct watch_event`."""

    _fields_ = (
        ("location", c_uint64),
        ("kind", c_uint32),
        ("netns", c_uint32),
        ("ifindex", c_uint32),
        ("prog_id", c_uint32),
        ("map_id", c_uint32),
        ("index", c_uint32),
        ("error", c_uint32),
        ("to_netns", c_uint32),
        ("to_ifindex", c_uint32),
        ("reserved", c_uint32),
    )


class Watch:
    """Counts from its making until it is closed; a context manager.

    Making one costs some 40 ms (the kernel's BTF is parsed), closing it 2 ms. What interrupts the counting of
    another event is missed: see `missed`.

    Args:
        namespaces: what each is to be called → its inode (`stat -L /proc/PID/ns/net`), 1 to 8 of them: what
            happens in others is never counted. None: all of the system are watched.
        kinds: what is counted, of `KINDS`; `DROPS` is what the ledger needs, `XDP` is what `why` needs.

    Attributes:
        absent: tracepoints that this kernel does not have, or not as known here: they are not counted.

    Raises:
        InputError: no or too many namespaces; not root; a kernel without BTF.
        KernelError: the kernel refused the programs.
    """

    def __init__(self, namespaces: Mapping[str, int] | None, kinds: Collection[str]) -> None:
        if namespaces is not None and not 1 <= len(namespaces) <= NAMESPACES:
            raise InputError(f"drops can be watched in 1 to {NAMESPACES} namespaces, not {len(namespaces)}")
        self._names = {inode: name for name, inode in (namespaces or {}).items()}
        self._undo = contextlib.ExitStack()
        self._closed = False
        with contextlib.ExitStack() as undo:
            try:
                self._open(undo, kinds)
            except KernelError as error:
                if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid() != 0:
                    raise InputError("watching what the kernel drops needs root: run it with sudo") from error
                raise
            self._undo = undo.pop_all()

    def _open(self, undo: contextlib.ExitStack, kinds: Collection[str]) -> None:
        prototypes, _ = of_kernel()
        source = (resources.files("xdp") / "objects" / "watch.bpf.o").read_bytes()
        loaded = BpfObject(source, name="watch")
        undo.callback(loaded.close)
        settings = {"everywhere": int(not self._names), "reason_argument": 0, "socket_argument": 0}
        settings["map_argument"] = int("bpf_map" in prototypes["watch_redirect_err"])
        absent = []
        for name, program in loaded.programs.items():
            known = prototypes[name]
            unlike = not any(_fits(known, wanted) for wanted in _ARGUMENTS[name])
            asked = name.removeprefix("watch_") in kinds
            program.set_autoload(asked and not unlike)
            if asked and unlike:
                absent.append(TRACEPOINTS[name])
        self.absent = tuple(absent)
        skb = prototypes["watch_skb"]
        for setting, type_ in (("reason_argument", "skb_drop_reason"), ("socket_argument", "sock")):
            if type_ in skb:
                settings[setting] = skb.index(type_)
        _set(loaded, tuple(self._names), settings)
        loaded.load()
        self._map = loaded.maps["events"].fd
        self._info = kernel.map_info(self._map)
        self._bss = next(m.fd for name, m in loaded.maps.items() if name.endswith(".bss"))
        self._programs = [p.fd for p in loaded.programs.values() if p.fd >= 0]
        for fd in self._programs:
            undo.callback(os.close, tracepoint.attach(fd))

    def events(self) -> tuple[Event, ...]:
        """All that was counted since the watch began, the most frequent first."""
        self._check_open()
        found = []
        for key in list(maps.keys(self._map, self._info)):
            values = maps.lookup(self._map, self._info, key)
            if values is not None:
                found.append(_event(EventRecord.from_buffer_copy(key), values))
        return tuple(sorted(found, key=lambda event: -event.count))

    def drops(self) -> tuple[Drop, ...]:
        """Those that are drops, the most frequent first; with reason and place by name."""
        found: dict[tuple[str, str, int, str, str, str], int] = {}
        for event in self._dropped():
            where = (self._namespace(event), event.device or UNKNOWN, event.place[1])
            key = (*where, event.kind, reason(event), function(event.location))
            found[key] = found.get(key, 0) + event.count
        drops = (Drop(*key, frames) for key, frames in found.items())
        return tuple(sorted(drops, key=lambda drop: (-drop.frames, str(drop))))

    def counts(self) -> dict[Key, int]:
        """Drops: (namespace, interface, kind, reason) → frames, since the watch began."""
        counted: dict[Key, int] = {}
        for event in self._dropped():
            key = (self._namespace(event), event.device or UNKNOWN, event.kind, reason(event))
            counted[key] = counted.get(key, 0) + event.count
        return counted

    def _dropped(self) -> tuple[Event, ...]:
        return tuple(event for event in self.events() if event.is_drop)

    def _namespace(self, event: Event) -> str:
        return self._names.get(event.place[0], f"net:[{event.place[0]}]")

    @property
    def missed(self) -> int:
        """Frames that the watch did not count: it was interrupted by them, or had no room for them."""
        self._check_open()
        lost = maps.lookup(self._bss, kernel.map_info(self._bss), bytes(4)) or bytes(8)
        total = int.from_bytes(lost[:8], "little")
        return total + sum(kernel.prog_counted(fd, "recursion_misses") or 0 for fd in self._programs)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the watch of the kernel's tracepoints is closed")

    def close(self) -> None:
        """Detaches and unloads. Idempotent."""
        self._closed = True
        self._undo.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(record: EventRecord, values: bytes) -> Event:
    """An event from its key and from its counts of all CPUs."""
    parts = list(COUNT.iter_unpack(values))
    return Event(
        KINDS[record.kind],
        record.ifindex,
        record.netns,
        record.prog_id,
        record.map_id if record.map_id != _NO_MAP else 0,
        record.index,
        record.error,
        record.to_ifindex,
        record.to_netns,
        sum(frames for frames, _ in parts),
        record.location,
        # A CPU's element has a name only if the first frame of all CPUs was its own.
        next((name.split(b"\0")[0].decode() for _, name in parts if name[0]), ""),
    )


def _fits(known: tuple[str, ...], wanted: Mapping[int, str]) -> bool:
    return all(known[index : index + 1] == (type_,) for index, type_ in wanted.items())


def _set(loaded: BpfObject, inodes: tuple[int, ...], settings: Mapping[str, int]) -> None:
    section = next(m for name, m in loaded.maps.items() if name.endswith(".rodata"))
    with Btf(loaded.btf) as btf, section.initial_value() as memory:
        at = {name: member.offset for name, member in btf.variables(".rodata").items()}
        struct.pack_into(f"={len(inodes)}I", memory, at["namespaces"], *inodes)
        for name, value in settings.items():
            struct.pack_into("=I", memory, at[name], value)
