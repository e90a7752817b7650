# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""XDP programs: a spec that can be printed and compared, and the loaded program that it becomes."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from .attachment import Attachment, Kind, Mode, attach
from .maps import TypedMap
from .pyxdp import kernel
from .pyxdp.bpf import F_XDP_HAS_FRAGS, BpfObject, BpfProgram
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError
from .pyxdp.kernel import ProgType


@dataclasses.dataclass(frozen=True)
class ProgramSpec:
    """What to load.

    Attributes:
        object: the name of a program that comes with this package ("redirect_udp"), or the path of any BPF
            object file (with a "/" or ending in ".o").
        program: the function's name; needed only if the object has several XDP programs.
        rodata: values for the object's `const volatile` integers, set before the verifier sees them.
        map_entries: sizes of maps by name, such as {"xsks_map": 128}.
        frags: the program also takes packets that fill several buffers, as if its section were "xdp.frags";
            it sees the first only. Without it a device refuses native XDP with a large MTU.
        bound_to: bind the program, as it is loaded, to this device of the calling thread's network namespace.
            Only then may it ask the driver for a packet's metadata ("redirect_meta" does); it can be attached
            to no other device, and only in native mode.
        log_level: verbosity of the verifier's log (see `pyxdp.bpf.BpfObject`).
    """

    object: str = "redirect_udp"
    program: str | None = None
    rodata: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    map_entries: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    frags: bool = False
    bound_to: str = ""
    log_level: int = 0

    @property
    def is_path(self) -> bool:
        """Is the object a file of the user's?"""
        return "/" in self.object or self.object.endswith(".o")

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {
            "object": self.object,
            "program": self.program,
            "rodata": dict(self.rodata),
            "map_entries": dict(self.map_entries),
            "frags": self.frags,
            "bound_to": self.bound_to,
        }


def _ifindex(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise InputError(
            f"no device {device!r} to bind the program to: load it in the device's network namespace"
        ) from None


def bundled() -> list[str]:
    """Names of the programs that come with this package."""
    objects = files("xdp") / "objects"
    return sorted(
        entry.name.removesuffix(".bpf.o")
        for entry in objects.iterdir()
        # feature_*: what `xdplab features` tries; xsk_*: what `xskmap` reads with; watch: for tracepoints;
        # tester_*: what `xdplab send` and `xdplab sink` are made of; conform_*: of the conformance suite;
        # none of them is for a device by itself
        if entry.name.endswith(".bpf.o")
        and not entry.name.startswith(("conform_", "feature_", "xsk_", "watch", "tester_"))
    )


def _open(spec: ProgramSpec) -> BpfObject:
    if spec.is_path:
        return BpfObject(Path(spec.object), log_level=spec.log_level)
    entry = files("xdp") / "objects" / f"{spec.object}.bpf.o"
    if not entry.is_file():
        raise InputError(
            f"no program is called {spec.object!r}; there are {', '.join(bundled())}; "
            "for a file of your own give its path, such as ./my.bpf.o"
        )
    return BpfObject(entry.read_bytes(), name=spec.object, log_level=spec.log_level)


def _choose(bpf: BpfObject, wanted: str | None, name: str) -> BpfProgram:
    candidates = [p for p in bpf.programs.values() if p.type == ProgType.XDP]
    if wanted is not None:
        for program in candidates:
            if program.name == wanted:
                return program
        there = ", ".join(p.name for p in candidates) or "none"
        raise InputError(f"{name} has no XDP program called {wanted!r}; XDP programs in it: {there}")
    if not candidates:
        sections = ", ".join(p.section for p in bpf.programs.values()) or "none"
        raise InputError(
            f'{name} has no XDP section (program sections: {sections}); mark a function SEC("xdp")'
        )
    if len(candidates) > 1:
        names = ", ".join(p.name for p in candidates)
        raise InputError(f"{name} has several XDP programs, name one of {names}")
    return candidates[0]


def set_rodata(bpf: BpfObject, values: Mapping[str, int], name: str) -> None:
    """Sets an object's `const volatile` integers, before it is loaded.

    Raises:
        InputError: it has no such constant, or one too small.
    """
    if not values:
        return
    if not bpf.btf:
        raise InputError(f"{name} has no BTF, so its constants cannot be set; compile it with clang -g")
    with Btf(bpf.btf) as btf, contextlib.ExitStack() as stack:
        try:
            variables = btf.variables(".rodata")
        except InputError:
            variables = {}
        section = next((m for m in bpf.maps.values() if m.is_internal and m.name.endswith(".rodata")), None)
        for key, value in values.items():
            if section is None or key not in variables:
                there = ", ".join(variables) or "none"
                raise InputError(f"{name} has no constant {key!r}; const volatile variables in it: {there}")
            where = variables[key]
            if where.size not in (1, 2, 4, 8) or not 0 <= value < 1 << 8 * where.size:
                raise InputError(f"{key}={value} does not fit: the constant has {where.size} bytes")
            memory = stack.enter_context(section.initial_value())
            memory[where.offset : where.offset + where.size] = value.to_bytes(where.size, "little")


class Program:
    """A loaded XDP program with its maps; closing it detaches it and unloads it.

    Attributes:
        spec: what was asked for.
        maps: the object's maps by name, integers in, integers out (see `TypedMap`); other maps are left out.
    """

    def __init__(self, spec: ProgramSpec) -> None:
        self.spec = spec
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            self._object = on_error.enter_context(_open(spec))
            self._program = _choose(self._object, spec.program, spec.object)
            for other in self._object.programs.values():
                if other.name != self._program.name:
                    other.set_autoload(False)
            set_rodata(self._object, spec.rodata, spec.object)
            for name, entries in spec.map_entries.items():
                if name not in self._object.maps:
                    raise InputError(
                        f"{spec.object} has no map {name!r}; maps in it: {', '.join(self._object.maps)}"
                    )
                if entries < 1:
                    raise InputError(f"map {name} needs at least 1 entry, not {entries}")
                self._object.maps[name].max_entries = entries
            if spec.frags:
                self._program.flags |= F_XDP_HAS_FRAGS
            if spec.bound_to:
                self._program.bind_to(_ifindex(spec.bound_to))
            self._object.load()
            self.maps = dict(self._typed_maps())
            self._counter_names = self._read_counter_names()
            self._undo.push(on_error.pop_all())

    @classmethod
    def load(cls, spec: ProgramSpec) -> Program:
        """Opens, sets constants and sizes, loads.

        Raises:
            InputError: no such object, no XDP program in it, unknown constant or map.
            KernelError: the verifier refused; its log is in `log`.
        """
        return cls(spec)

    def _typed_maps(self) -> list[tuple[str, TypedMap]]:
        found = []
        for name, bpf_map in self._object.maps.items():
            if not bpf_map.is_internal:
                with contextlib.suppress(InputError):  # records are no integers: they are reached by `map_fd`
                    found.append((name, TypedMap(bpf_map.fd)))
        return found

    def _read_counter_names(self) -> dict[str, int]:
        if "counters" not in self.maps or not self._object.btf:
            return {}
        with Btf(self._object.btf) as btf:
            try:
                numbers = btf.enumerators("counter")
            except InputError:
                return {}
        return {
            name.removeprefix("COUNTER_").lower(): number
            for name, number in numbers.items()
            if name != "COUNTER_MAX"
        }

    @property
    def name(self) -> str:
        """The function's name."""
        return self._program.name

    @property
    def fd(self) -> int:
        """File descriptor, the program's own."""
        return self._program.fd

    @property
    def id(self) -> int:
        """The kernel's id of the program."""
        return int(kernel.prog_info(self.fd).id)

    def map_fd(self, name: str) -> int:
        """File descriptor of a map by name, the program's own.

        Raises:
            InputError: no such map.
        """
        if name not in self._object.maps:
            raise InputError(
                f"{self.spec.object} has no map {name!r}; maps in it: {', '.join(self._object.maps)}"
            )
        return self._object.maps[name].fd

    def counters(self) -> dict[str, int]:
        """Packets by the program's own classes (`enum counter` of its source), summed over the CPUs.

        Empty for an object that has no map `counters` with an `enum counter`.
        """
        counters = self.maps.get("counters")
        return {name: counters[number] for name, number in self._counter_names.items()} if counters else {}

    def attach(self, ifname: str, mode: Mode = "auto", kind: Kind = "link") -> Attachment:
        """Attaches to a device of the calling thread's network namespace; `close` detaches.

        Args:
            ifname: the device.
            mode: "native", "generic", or "auto": native where the driver can, else generic.
            kind: "link" ends with the last process that holds it; "netlink" stays with the device until
                detached; "dispatcher" goes through libxdp, next to other programs where the kernel can.

        Raises:
            InputError: no such device, unknown mode or kind.
            KernelError: refused (EBUSY: another program is there).
        """
        attachment = attach(self.fd, ifname, mode, kind)
        self._undo.callback(attachment.close)
        return attachment

    def close(self) -> None:
        """Detaches and unloads."""
        self._undo.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Program {self.spec.object}>"
