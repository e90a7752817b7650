# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a case is given: sockets, programs, a peer. All are gone, or as before, when it has ended."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import NoReturn

from labs.conformance.bench import Bench, bind
from labs.conformance.case import SkipCase
from labs.conformance.exchange import Exchange
from labs.conformance.frames import JUMBO_MTU
from labs.conformance.memory import Memory, UmemSpec
from labs.conformance.mode import Mode
from labs.conformance.programs import FRAGS, REDIRECT
from labs.conformance.site import Wire, is_unsupported
from labs.conformance.station import SocketSpec, Station, register
from xdp.features import feature
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import maps, xsk
from xdp.pyxdp.errors import InputError, KernelError
from xdp.xskmap import Statistics, read_xskmap


class Env(Exchange):
    """What one case works with in one mode; a context manager. At its end `settle` looks at all of it."""

    def __init__(self, bench: Bench, mode: Mode) -> None:
        super().__init__(bench.site.wires[0])
        self.bench, self.mode, self.site = bench, mode, bench.site
        self._undo = contextlib.ExitStack()
        self._stations: list[Station] = []
        self._umems: dict[Station, xsk.XskUmem] = {}
        self._program: dict[Wire, Program] = {}

    # Making

    def use(self, spec: ProgramSpec = REDIRECT, wire: Wire | None = None) -> Program:
        """Attaches a program to the DUT; sockets that are opened from now on are put into its XSKMAP."""
        wire = wire or self.wire
        program = self.bench.program(spec, wire)
        wire.attach(program, self.mode)
        self._program[wire] = program
        return program

    def use_fresh(self, spec: ProgramSpec) -> Program:
        """As `use`, but loaded anew for this case: its count begins at 0."""
        program = self._undo.enter_context(Program.load(spec))
        wire = self.wire
        # Before the case's end unloads it another takes its place: some devices take their link down without.
        self._undo.callback(lambda: wire.attach(self.bench.program(REDIRECT, wire), self.mode))
        wire.attach(program, self.mode)
        self._program[wire] = program
        return program

    def station(
        self,
        umem: UmemSpec = UmemSpec(),  # noqa: B008 (a frozen constant)
        spec: SocketSpec = SocketSpec(),  # noqa: B008 (a frozen constant)
        *,
        wire: Wire | None = None,
        queue: int = 0,
        fill: int | None = None,
    ) -> Station:
        """A socket with a UMEM of its own on the DUT, all free frames given (or `fill`), in the XSKMAP."""
        memory = self._undo.enter_context(Memory(umem))
        # Inside already here: the UMEM's descriptor becomes that of its first socket.
        with (wire or self.wire).dut.entered():
            registered = self._undo.enter_context(register(memory, umem))
        station = self._bind(registered, memory, spec, wire or self.wire, queue)
        self._umems[station] = registered
        station.give(min(umem.frames // 2, umem.fill_size) if fill is None else fill)
        self.enter(station, queue, wire)
        self.await_taken(station, queue, wire)
        return station

    def multi_buffer_station(self, umem: UmemSpec, *, fill: int | None = None) -> Station:
        """A socket whose packets may fill several frames; skips the case where there is no such thing."""
        try:
            return self.station(umem, SocketSpec(multi_buffer=True), fill=fill)
        except KernelError as error:
            if not is_unsupported(error):
                raise
            raise SkipCase(f"no socket with XDP_USE_SG here (Linux 6.6): {error.strerror}") from None

    @contextlib.contextmanager
    def jumbo(self, spec: ProgramSpec = FRAGS) -> Iterator[None]:
        """An MTU of 9,000 and a program for packets of several buffers; skips where the device has none."""
        with contextlib.ExitStack() as undo:
            try:
                self.use(spec)
                try:
                    undo.enter_context(self.wire.mtu(JUMBO_MTU))
                except KernelError:
                    # veth takes the largest MTU from the first program, not from one that replaces it.
                    self.wire.detach()
                    self.use(spec)
                    undo.enter_context(self.wire.mtu(JUMBO_MTU))
            except KernelError as error:
                if not is_unsupported(error):
                    raise
                raise SkipCase(f"no MTU of {JUMBO_MTU} with XDP here: {error}") from None
            # The sockets go before the MTU does.
            with contextlib.ExitStack() as inner:
                outer, self._undo = self._undo, inner
                try:
                    yield
                    self.settle()
                finally:
                    self._undo, self._stations = outer, []

    @contextlib.contextmanager
    def peer_socket(self, queue: int) -> Iterator[Station]:
        """A socket on the peer that only sends."""
        umem = UmemSpec(frames=128)
        with Memory(umem) as memory, self.wire.peer.entered(), register(memory, umem) as registered:
            opened = xsk.XskSocket(
                registered, self.wire.spec.peer, queue, rx_size=0, tx_size=64, bind_flags=xsk.XDP_COPY
            )
            with Station(opened, memory, Mode(need_wakeup=False), SocketSpec(0, 64), queue) as station:
                yield station

    def kernel_statistics(self, slot: int = 0) -> Statistics | None:
        """What the kernel itself counts of the socket in a slot of the XSKMAP; None where no BTF tells."""
        fd = self._program[self.wire].map_fd("xsks_map")
        try:
            return read_xskmap(fd=fd, method="btf", with_owners=False).sockets[slot].statistics
        except (InputError, KernelError):
            return None

    def skip(self, why: str) -> NoReturn:
        """Ends the case: it cannot be tried here."""
        raise SkipCase(why)

    def enter_also(self, station: Station, spec: ProgramSpec) -> None:
        """Puts a socket into the XSKMAP of a program that is not in use yet."""
        xsks = self.bench.program(spec, self.wire).maps["xsks_map"]
        maps.update(xsks.fd, xsks.info, struct.pack("=I", 0), struct.pack("=I", station.fd))

    def sharing(
        self, first: Station, *, wire: Wire | None = None, queue: int = 0, slot: int = 0, fill: int = 0
    ) -> Station:
        """A socket on the UMEM of another: with rings of its own, or with the other's on the same queue."""
        same = wire is None and queue == first.queue
        station = self._bind(
            self._umems[first], first.memory, first.spec, wire or self.wire, queue, new_rings=not same
        )
        station.give(fill)
        self.enter(station, slot, wire)
        self.await_taken(station, slot, wire)
        return station

    def enter(self, station: Station, slot: int = 0, wire: Wire | None = None) -> None:
        """Puts a socket into the XSKMAP of the program in use."""
        wire = wire or self.wire
        if wire not in self._program:
            self.use(wire=wire)
        xsks = self._program[wire].maps["xsks_map"]
        maps.update(xsks.fd, xsks.info, struct.pack("=I", slot), struct.pack("=I", station.fd))

    def await_taken(self, station: Station, slot: int = 0, wire: Wire | None = None) -> None:
        """Waits until a zero-copy device has frames of this socket, which the XSKMAP's slot holds."""
        if self.mode.kind != "zerocopy" or not station.fill.level:
            return
        reader = self.bench.reader(self._program[wire or self.wire])

        def taken() -> bool:
            socket = reader.read(with_owners=False).sockets.get(slot)
            return socket is not None and socket.fill is not None and bool(socket.fill.unpublished)

        station.await_taken(lambda: bool(station.fill.consumer) or taken())

    @contextlib.contextmanager
    def alone(self, umem: UmemSpec) -> Iterator[Station]:
        """A socket for a part of the case; another may take its queue afterwards."""
        with contextlib.ExitStack() as inner:
            outer, self._undo = self._undo, inner
            before = list(self._stations)
            try:
                yield self.station(umem)
                self.settle()
            finally:
                self._undo, self._stations = outer, before

    def forget(self, station: Station) -> None:
        """Closes a socket that another process has by now, which has the account of it too."""
        station.close()
        self._umems.pop(station).close()
        station.memory.close()
        self._stations.remove(station)

    def unaligned(self, frames: int = 256) -> UmemSpec:
        """Unaligned frames of 3,000 bytes. For a device, which sees pages, on huge ones; skips without."""
        spec = UmemSpec(frame_size=3000, frames=frames, unaligned=True, huge=self.mode.kind == "zerocopy")
        if spec.huge and not feature("huge_pages").available:
            raise SkipCase("to a device only the inside of a page is one piece: reserve huge pages (8)")
        return spec

    # Ending

    def settle(self) -> None:
        """Asserts that no counter moved but those stated, and that every frame is where it belongs."""
        for station in self._stations:
            station.check()
        for memory in {id(station.memory): station.memory for station in self._stations}.values():
            users = [station for station in self._stations if station.memory is memory]
            there = sum({station.fill_ring: station.fill.level for station in users}.values())
            there += sum(station.rx.level for station in users if station.spec.rx_size)
            held = len(memory.given) - there
            # A zero-copy driver has frames in rings of its own.
            most = len(memory.given) if self.mode.kind == "zerocopy" else sum(s.held for s in users)
            assert 0 <= held <= most, (
                f"of {len(memory.given)} frames given for reception {there} are in the rings"
            )
            everywhere = (
                len(memory.given) + len(memory.lent) + len(memory.receive_pool) + len(memory.send_pool)
            )
            assert everywhere == memory.spec.frames, f"{everywhere} of {memory.spec.frames} frames are left"
            assert not memory.lent, f"{len(memory.lent)} frames were sent and never completed"

    def close(self) -> None:
        """Closes the sockets; the program stays for the next case, which puts its own in its place."""
        self._undo.close()

    def __enter__(self) -> Env:
        # What a case before left on the way is not this one's.
        for wire in self.site.wires:
            wire.tap.receive(0)
            wire.stack.receive(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(
        self,
        registered: xsk.XskUmem,
        memory: Memory,
        spec: SocketSpec,
        wire: Wire,
        queue: int,
        *,
        new_rings: bool = False,
    ) -> Station:
        opened = bind(registered, spec, wire, queue, self.mode, new_rings=new_rings)
        station = self._undo.enter_context(Station(opened, memory, self.mode, spec, queue))
        self._stations.append(station)
        if self.mode.busy_poll:
            station.prefer_busy_poll()
        return station
