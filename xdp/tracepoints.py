# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel itself says of the packets that it drops, in chosen network namespaces only.

Four tracepoints are counted (`src/drop_watch.bpf.c`): `skb:kfree_skb` by reason and place,
`xdp:xdp_exception` by verdict, `xdp:xdp_redirect_err` by errno, and what `xdp:xdp_devmap_xmit` says that a
device did not take. Reasons are named by the running kernel's BTF, so that no table here can be out of date.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from .pyxdp import kernel, maps, tracepoint
from .pyxdp.bpf import BpfObject
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError

UNKNOWN = "unknown"  # the device of a packet that had none (any more) when it was dropped
KINDS = ("skb", "xdp_exception", "redirect_err", "devmap_xmit")  # enum drop_kind, src/drop_watch.h
NAMESPACES = 8  # DROP_NAMESPACES
KEY = struct.Struct("=QIIII")  # struct drop_key: location, netns, ifindex, reason, kind
VALUE = struct.Struct("=Q16s")  # struct drop_value: frames, device
ACTIONS = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")  # enum xdp_action, linux/bpf.h
FULL = "FULL"  # a device took fewer frames than it was given, and gave no error

_TRACEPOINTS = {
    "watch_kfree_skb": "kfree_skb",
    "watch_xdp_exception": "xdp_exception",
    "watch_redirect_err": "xdp_redirect_err",
    "watch_devmap_xmit": "xdp_devmap_xmit",
}
# The arguments that the programs rely on; the first, no argument of the tracepoint, is not counted.
_ARGUMENTS = {
    "watch_kfree_skb": {0: "sk_buff"},
    "watch_xdp_exception": {0: "net_device", 2: "unsigned int"},
    "watch_redirect_err": {0: "net_device", 3: "int"},
    "watch_devmap_xmit": {1: "net_device", 3: "int", 4: "int"},
}
# Enumerations of reasons that are not the core's: net/mac80211/drop.h, net/openvswitch/drop.h
_SUBSYSTEMS = {"MAC80211_UNUSABLE": "mac80211_drop_reason", "OPENVSWITCH": "ovs_drop_reason"}

Key = tuple[str, str, str, str]


@dataclasses.dataclass(frozen=True)
class Drop:
    """Packets that the kernel dropped for one reason at one place.

    Attributes:
        namespace: as the watch was told to call it.
        interface: the device's name then, "unknown" if the packet had no device.
        ifindex: of the device, 0 if unknown.
        kind: "skb", "xdp_exception", "redirect_err" or "devmap_xmit".
        reason: of an skb the drop reason ("NO_SOCKET"), of an exception the verdict ("XDP_ABORTED"), else an
            errno ("ENOBUFS"), or "FULL" where a device took fewer frames than it was given.
        place: the kernel's function that dropped an skb; "" if /proc/kallsyms hides it, or of other kinds.
        frames: how many.
    """

    namespace: str
    interface: str
    ifindex: int
    kind: str
    reason: str
    place: str
    frames: int

    def to_dict(self) -> dict[str, str | int]:
        """Ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place else ""
        return f"{self.namespace}/{self.interface}: {self.frames} {self.kind} {self.reason}{where}"


class DropWatch:
    """Counts drops in network namespaces from its making until it is closed; a context manager.

    Making one costs some 40 ms (the kernel's BTF is parsed), closing it 2 ms. What happens in other
    namespaces is never counted. A drop that interrupts the counting of another is missed: see `missed`.

    Args:
        namespaces: what each is to be called → its inode (`stat -L /proc/PID/ns/net`); 1 to 8 of them.

    Attributes:
        absent: tracepoints that this kernel does not have, or not as known here: they are not counted.

    Raises:
        InputError: no or too many namespaces; not root; a kernel without BTF.
        KernelError: the kernel refused the programs.
    """

    def __init__(self, namespaces: Mapping[str, int]) -> None:
        if not 1 <= len(namespaces) <= NAMESPACES:
            raise InputError(f"drops can be watched in 1 to {NAMESPACES} namespaces, not {len(namespaces)}")
        self._names = {inode: name for name, inode in namespaces.items()}
        self._undo = contextlib.ExitStack()
        self._closed = False
        with contextlib.ExitStack() as undo:
            try:
                self._open(undo)
            except KernelError as error:
                if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid() != 0:
                    raise InputError("watching what the kernel drops needs root: run it with sudo") from error
                raise
            self._undo = undo.pop_all()

    def _open(self, undo: contextlib.ExitStack) -> None:
        prototypes, self._reasons = _of_kernel()
        source = (resources.files("xdp") / "objects" / "drop_watch.bpf.o").read_bytes()
        loaded = BpfObject(source, name="drop_watch")
        undo.callback(loaded.close)
        settings = {"reason_argument": 0, "socket_argument": 0}
        absent = []
        for name, program in loaded.programs.items():
            known = prototypes[name]
            if any(known[index : index + 1] != (type_,) for index, type_ in _ARGUMENTS[name].items()):
                program.set_autoload(False)
                absent.append(_TRACEPOINTS[name])
        self.absent = tuple(absent)
        skb = prototypes["watch_kfree_skb"]
        for setting, type_ in (("reason_argument", "skb_drop_reason"), ("socket_argument", "sock")):
            if type_ in skb:
                settings[setting] = skb.index(type_)
        _set(loaded, tuple(self._names), settings)
        loaded.load()
        self._map = loaded.maps["drops"].fd
        self._info = kernel.map_info(self._map)
        self._bss = next(m.fd for name, m in loaded.maps.items() if name.endswith(".bss"))
        self._programs = [p.fd for p in loaded.programs.values() if p.fd >= 0]
        for fd in self._programs:
            undo.callback(os.close, tracepoint.attach(fd))

    def counts(self) -> dict[Key, int]:
        """(namespace, interface, kind, reason) → frames, since the watch began."""
        counted: dict[Key, int] = {}
        for (_, netns, _, reason, kind), (frames, device) in self._raw().items():
            key = (self._names[netns], device, KINDS[kind], self._reason(kind, reason))
            counted[key] = counted.get(key, 0) + frames
        return counted

    def drops(self) -> tuple[Drop, ...]:
        """All that was dropped since the watch began, the most frequent first; with the places."""
        found = []
        for (location, netns, ifindex, reason, kind), (frames, device) in self._raw().items():
            place = _symbols().name(location) if location else ""
            why = self._reason(kind, reason)
            found.append(Drop(self._names[netns], device, ifindex, KINDS[kind], why, place, frames))
        return tuple(sorted(found, key=lambda drop: (-drop.frames, str(drop))))

    @property
    def missed(self) -> int:
        """Drops that the watch did not count: it was interrupted by them, or had no room for them."""
        self._check_open()
        lost = maps.lookup(self._bss, kernel.map_info(self._bss), bytes(4)) or bytes(8)
        total = int.from_bytes(lost[:8], "little")
        for fd in self._programs:
            for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
                if line.startswith("recursion_misses:"):
                    total += int(line.split()[1])
        return total

    def _raw(self) -> dict[tuple[int, ...], tuple[int, str]]:
        self._check_open()
        found = {}
        for key in maps.keys(self._map, self._info):
            values = maps.lookup(self._map, self._info, key)
            if values is None:
                continue
            parts = list(VALUE.iter_unpack(values))
            # A CPU's element has a name only if the first drop of all CPUs was its own.
            device = next((name.split(b"\0")[0].decode() for _, name in parts if name[0]), UNKNOWN)
            found[KEY.unpack(key)] = (sum(frames for frames, _ in parts), device)
        return found

    def _reason(self, kind: int, reason: int) -> str:
        if KINDS[kind] == "skb":
            return self._reasons.get(reason) or f"REASON_{reason}"
        if KINDS[kind] == "xdp_exception":
            return ACTIONS[reason] if reason < len(ACTIONS) else f"ACTION_{reason}"
        return errno.errorcode.get(reason, str(reason)) if reason else FULL

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the watch of drops is closed")

    def close(self) -> None:
        """Detaches and unloads. Idempotent."""
        self._closed = True
        self._undo.close()

    def __enter__(self) -> DropWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set(loaded: BpfObject, inodes: tuple[int, ...], settings: Mapping[str, int]) -> None:
    section = next(m for name, m in loaded.maps.items() if name.endswith(".rodata"))
    with Btf(loaded.btf) as btf, section.initial_value() as memory:
        at = {name: member.offset for name, member in btf.variables(".rodata").items()}
        struct.pack_into(f"={len(inodes)}I", memory, at["namespaces"], *inodes)
        for name, value in settings.items():
            struct.pack_into("=I", memory, at[name], value)


@functools.cache
def _of_kernel() -> tuple[dict[str, tuple[str, ...]], dict[int, str]]:
    """Argument types of each tracepoint without the first, and names of the drop reasons; none if absent."""
    prototypes: dict[str, tuple[str, ...]] = {}
    with Btf() as btf:
        for program, name in _TRACEPOINTS.items():
            try:
                prototypes[program] = tuple(btf.arguments(f"btf_trace_{name}")[1:])
            except InputError:
                prototypes[program] = ()
        return prototypes, dict(_reason_names(btf))


def _reason_names(btf: Btf) -> Iterator[tuple[int, str]]:
    def numbers(enum: str) -> dict[str, int]:
        try:
            return btf.enumerators(enum)
        except InputError:  # an older kernel, or a module that is not loaded
            return {}

    for name, number in numbers("skb_drop_reason").items():
        short = name.removeprefix("SKB_DROP_REASON_")
        if short not in ("MAX", "SUBSYS_MASK"):
            yield number, short
    for name, number in numbers("skb_drop_reason_subsys").items():
        subsystem = name.removeprefix("SKB_DROP_REASON_SUBSYS_")
        for reason, value in numbers(_SUBSYSTEMS.get(subsystem, "")).items():
            # Some enumerations hold the subsystem in the upper 16 bits already.
            yield number << 16 | (value & 0xFFFF), f"{subsystem}:{reason}"


class _Symbols:
    """The kernel's functions by address; none where /proc/kallsyms shows zeros."""

    def __init__(self) -> None:
        found = []
        with contextlib.suppress(OSError):
            for line in Path("/proc/kallsyms").read_text().splitlines():
                address, kind, name = line.split(maxsplit=2)
                if kind in "tTwW" and address.strip("0"):
                    found.append((int(address, 16), name.split()[0]))
        found.sort()
        self._addresses = [address for address, _ in found]
        self._names = [name for _, name in found]

    def name(self, address: int) -> str:
        # A call at a function's very end returns to the next one's first byte.
        at = bisect_right(self._addresses, address - 1) - 1
        return self._names[at] if at >= 0 else ""


@functools.cache
def _symbols() -> _Symbols:
    return _Symbols()
