# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where cases run, one after the other: a site with its programs; and how a socket is bound there."""

from __future__ import annotations

import contextlib
import errno
import time

from labs.conformance.mode import Mode
from labs.conformance.site import Site, Wire
from labs.conformance.station import SocketSpec
from labs.conformance.waiting import Deadline
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import xsk
from xdp.pyxdp.errors import KernelError
from xdp.xskmap import Reader

REBIND_S = 10.0  # the kernel lets go of a queue in a worker of its own, when that comes to its turn


class Bench:
    """A site, and the programs loaded so far; a context manager. Cases run on it one after the other.

    Attributes:
        no_zero_copy: why the first DUT has none, "" if it has; None until somebody tried.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._undo = contextlib.ExitStack()
        self._programs: dict[str, Program] = {}
        self._readers: dict[Program, Reader] = {}
        self.no_zero_copy: str | None = None

    def program(self, spec: ProgramSpec, wire: Wire) -> Program:
        """The program, loaded once for all cases, with an XSKMAP for each wire."""
        key = f"{wire.spec.dut} {spec}"
        if key not in self._programs:
            self._programs[key] = self._undo.enter_context(Program.load(spec))
        return self._programs[key]

    def reader(self, program: Program) -> Reader:
        """Reads the program's XSKMAP; made once, as that takes a second where all is emulated."""
        if program not in self._readers:
            self._readers[program] = self._undo.enter_context(Reader(fd=program.map_fd("xsks_map")))
        return self._readers[program]

    def close(self) -> None:
        """Detaches and unloads all programs."""
        for wire in self.site.wires:
            wire.detach()
        self._undo.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bind(
    registered: xsk.XskUmem, spec: SocketSpec, wire: Wire, queue: int, mode: Mode, *, new_rings: bool = False
) -> xsk.XskSocket:
    """Binds a socket; waits a little where the one before on this queue is only just being closed (EBUSY)."""
    deadline = Deadline(REBIND_S)
    while True:
        try:
            with wire.dut.entered():
                return xsk.XskSocket(
                    registered,
                    wire.spec.dut,
                    queue,
                    rx_size=spec.rx_size,
                    tx_size=spec.tx_size,
                    bind_flags=mode.bind_flags | xsk.XDP_USE_SG * spec.multi_buffer,
                    shared=new_rings,
                )
        except KernelError as error:
            if error.errno != errno.EBUSY or deadline.over:
                raise
            time.sleep(0.001)
