# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Counts what any XDP program says to the frames of a device, at its exit (`src/watch_verdicts.bpf.c`).

Most programs count nothing, generic mode and many drivers do not either, and tracepoints tell of redirects
and failures only. So where the kernel allows fexit, what a program says is counted as it returns. Elsewhere
nothing is loaded: the refusal is known at once.
"""

from __future__ import annotations

import contextlib
import os
import struct
from importlib import resources

from .program import set_rodata
from .pyxdp import kernel, maps, probe, tracepoint
from .pyxdp.bpf import BpfObject
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError
from .pyxdp.kernel import ProgType
from .watch_events import ACTIONS

INVALID = "invalid"  # what is no action: the kernel drops the frame
VERDICTS = (*(name.removeprefix("XDP_").lower() for name in ACTIONS), INVALID)
FRAMES = struct.Struct(f"={len(VERDICTS)}Q")  # struct watch_verdicts


class VerdictWatch:
    """Counts verdicts from its making until it is closed; a context manager.

    The program may be anybody's; it is not changed, and waits for nothing but a look-up a frame.

    Args:
        prog_fd: the XDP program; of several under libxdp's dispatcher, the dispatcher has the last word.
        netns: inode of the namespace of the device.
        ifindex: the device.
        queues: how many RX queues it has.

    Raises:
        InputError: the kernel takes no fexit; the program was loaded without BTF.
        KernelError: the kernel refused to load or to attach.
    """

    def __init__(self, prog_fd: int, netns: int, ifindex: int, queues: int) -> None:
        self._undo = contextlib.ExitStack()
        self._closed = False
        # Asked first: the loader would parse the kernel's BTF before it is refused.
        if not probe.prog_type(ProgType.TRACING):
            raise InputError("the kernel refuses programs at the end of other programs (fexit)")
        with contextlib.ExitStack() as undo:
            source = (resources.files("xdp") / "objects" / "watch_verdicts.bpf.o").read_bytes()
            loaded = BpfObject(source, name="watch_verdicts")
            undo.callback(loaded.close)
            (program,) = loaded.programs.values()
            program.set_attach_target(function_of(prog_fd), prog_fd)
            set_rodata(loaded, {"netns": netns, "ifindex": ifindex}, loaded.name)
            loaded.maps["verdicts"].max_entries = queues
            loaded.load()
            self._program = program.fd
            self._map = loaded.maps["verdicts"].fd
            self._bss = next(m.fd for name, m in loaded.maps.items() if name.endswith(".bss"))
            self._info = kernel.map_info(self._map)
            undo.callback(os.close, tracepoint.attach(self._program))
            self._undo = undo.pop_all()

    def by_queue(self) -> dict[int, dict[str, int]]:
        """Queue → verdict → frames, since the watch began; verdicts are named as `VERDICTS`."""
        if self._closed:
            raise InputError("the watch of the program's verdicts is closed")
        found = {}
        for queue in range(self._info.max_entries):
            values = maps.lookup(self._map, self._info, struct.pack("=I", queue)) or b""
            of_cpus = zip(*FRAMES.iter_unpack(values), strict=True)
            found[queue] = dict(zip(VERDICTS, map(sum, of_cpus), strict=True))
        return found

    def counts(self) -> dict[str, int]:
        """Verdict → frames of all queues."""
        queues = self.by_queue().values()
        return {name: sum(queue[name] for queue in queues) for name in VERDICTS}

    @property
    def missed(self) -> int:
        """Frames that were not counted: they interrupted another's counting, or came by further queues."""
        lost = maps.lookup(self._bss, kernel.map_info(self._bss), bytes(4)) or b""
        interrupted = kernel.prog_counted(self._program, "recursion_misses") or 0
        return int.from_bytes(lost[:8], "little") + interrupted

    def close(self) -> None:
        """Detaches and unloads. Idempotent."""
        self._closed = True
        self._undo.close()

    def __enter__(self) -> VerdictWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def function_of(prog_fd: int) -> str:
    """The full name of a loaded program's own function: its info has at most 15 characters of it.

    Raises:
        InputError: it was loaded without BTF.
    """
    info = kernel.prog_info(prog_fd)
    types = kernel.prog_function_types(prog_fd)
    try:
        with Btf.by_id(int(info.btf_id) if types else 0) as btf:
            return btf.name_of(types[0])
    except InputError as error:
        raise InputError(f"program {info.id} ({info.name}): {error}") from None
