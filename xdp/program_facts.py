# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What can be known of any loaded XDP program: its maps, constants, counters, runs, verdicts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from collections.abc import Iterator, Mapping

from .maps import TypedMap
from .pyxdp import kernel, maps
from .pyxdp._native import libbpf
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError
from .pyxdp.kernel import MapType
from .pyxdp.run import run
from .watch_events import ACTIONS
from .xskmap_find import xskmaps_of_program

_RUN_TIME = 0  # BPF_STATS_RUN_TIME, enum bpf_stats_type, linux/bpf.h
_COUNTER_PREFIX = "COUNTER_"
MAX_PROBE = 3500  # bytes that a test run takes in one piece: a page less head room and struct skb_shared_info


@dataclasses.dataclass(frozen=True)
class ProgramFacts:
    """A loaded program at one moment.

    Attributes:
        id: of the program.
        name: of its function, at most 15 characters.
        xskmaps: ids of the XSKMAPs that it uses, itself or through what it calls.
        constants: its `const volatile` integers, where it was loaded with BTF.
        counters: of a map "counters" with an `enum counter`, as this project's programs have it.
        runs: how often it ran since statistics were switched on (`counting_runs`); None where unknown.
    """

    id: int
    name: str
    xskmaps: tuple[int, ...] = ()
    constants: Mapping[str, int] = dataclasses.field(default_factory=dict)
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    runs: int | None = None


@contextlib.contextmanager
def counting_runs() -> Iterator[bool]:
    """Lets the kernel count runs of BPF programs (some 20 ns a run); False where it refuses (before 5.8)."""
    fd = libbpf().bpf_enable_stats(_RUN_TIME)
    try:
        yield fd >= 0
    finally:
        if fd >= 0:
            os.close(fd)


def program_facts(prog_id: int) -> ProgramFacts:
    """Reads a program by its id.

    Raises:
        InputError: no such program (any more), not root.
    """
    with contextlib.ExitStack() as undo:
        fd = undo.enter_context(kernel.prog_by_id(prog_id))
        info = kernel.prog_info(fd)
        # The object's BTF is the program's: a map has none where the kernel dislikes the type of its keys.
        btf = None
        with contextlib.suppress(InputError):
            btf = undo.enter_context(Btf.by_id(int(info.btf_id)))
        constants: dict[str, int] = {}
        counters: dict[str, int] = {}
        for map_id in kernel.prog_map_ids(fd):
            if btf is None:
                break
            with contextlib.suppress(InputError, KernelError), kernel.map_by_id(map_id) as map_fd:
                about = kernel.map_info(map_fd)
                if about.name.endswith(".rodata"):
                    constants |= _constants(map_fd, about, btf)
                elif about.name == "counters":
                    counters |= _counters(map_fd, about, btf)
        xskmaps: tuple[int, ...] = ()
        with contextlib.suppress(InputError):
            xskmaps = tuple(xskmaps_of_program(prog_id))
        return ProgramFacts(
            prog_id, info.name, xskmaps, constants, counters, kernel.prog_counted(fd, "run_cnt")
        )


def _constants(fd: int, info: kernel.MapInfo, btf: Btf) -> dict[str, int]:
    section = maps.lookup(fd, info, bytes(4)) or b""
    return {
        name: int.from_bytes(section[at.offset : at.offset + at.size], "little")
        for name, at in btf.variables(".rodata").items()
        if at.size in (1, 2, 4, 8)
    }


def _counters(fd: int, info: kernel.MapInfo, btf: Btf) -> dict[str, int]:
    if not MapType(info.type).per_cpu:
        return {}
    values = TypedMap(fd)
    return {
        name.removeprefix(_COUNTER_PREFIX).lower(): values[number]
        for name, number in btf.enumerators("counter").items()
        if number < info.max_entries
    }


def verdict(prog_id: int, packet: bytes, ifindex: int, queue: int) -> str | None:
    """What a program says to a packet: it is run once on a copy, which goes nowhere.

    The program's own maps see that run: its counters count it. None where the kernel refuses the run.

    Args:
        prog_id: the program.
        packet: from the Ethernet header on, at least 14 bytes and at most `MAX_PROBE`.
        ifindex: the device it shall believe to run on, in the calling thread's network namespace.
        queue: the RX queue.
    """
    context = struct.pack("=6I", 0, len(packet), 0, ifindex, queue, 0)  # struct xdp_md, linux/bpf.h
    try:
        with kernel.prog_by_id(prog_id) as fd:
            value = run(fd, packet, context=context).value
    except (InputError, KernelError):
        return None
    return ACTIONS[value] if value < len(ACTIONS) else str(value)
