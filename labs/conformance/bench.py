# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a case is given: sockets, programs, a peer. All are gone, or as before, when it has ended."""

from __future__ import annotations

import contextlib
import errno
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

from labs.conformance.case import SkipCase
from labs.conformance.frames import JUMBO_MTU, SMALLEST, frame
from labs.conformance.memory import Memory, UmemSpec
from labs.conformance.mode import Mode
from labs.conformance.site import Site, Wire, is_unsupported
from labs.conformance.station import Packet, SocketSpec, Station, register
from labs.conformance.waiting import Deadline
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import maps, xsk
from xdp.pyxdp.errors import KernelError

METADATA = ProgramSpec("conform_metadata", program="conform_metadata")
METADATA_FRAGS = ProgramSpec("conform_metadata", program="conform_metadata_frags")
REDIRECT = ProgramSpec("conform_redirect", program="conform_redirect")
FRAGS = ProgramSpec("conform_redirect", program="conform_frags")
WINDOW = 64  # frames on their way at once: fewer than any ring or device queue in between holds
REBIND_S = 1.0


class Bench:
    """A site, and the programs loaded so far; a context manager. Cases run on it one after the other."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._undo = contextlib.ExitStack()
        self._programs: dict[str, Program] = {}
        self._no_zero_copy: str | None = None

    def program(self, spec: ProgramSpec, wire: Wire) -> Program:
        """The program, loaded once for all cases, with an XSKMAP for each wire."""
        key = f"{wire.spec.dut} {spec}"
        if key not in self._programs:
            self._programs[key] = self._undo.enter_context(Program.load(spec))
        return self._programs[key]

    def why_not(self, mode: Mode) -> str:
        """Why the first DUT has not this mode, "" if it has; found by trying, once for zero-copy."""
        if mode.kind != "zerocopy":
            return ""
        if self._no_zero_copy is None:
            try:
                with Env(self, Mode("zerocopy")) as env:
                    env.station()
                self._no_zero_copy = ""
            except KernelError as error:
                self._no_zero_copy = f"{self.site.wires[0].spec.dut} has no zero-copy: {error.strerror}"
        return self._no_zero_copy

    def close(self) -> None:
        """Detaches and unloads all programs."""
        for wire in self.site.wires:
            wire.detach()
        self._undo.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Env:
    """What one case works with in one mode; a context manager. At its end `settle` looks at all of it."""

    def __init__(self, bench: Bench, mode: Mode) -> None:
        self.bench, self.mode, self.site = bench, mode, bench.site
        self.wire = bench.site.wires[0]
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
        # The case's end unloads it, which must not detach it under the next case's feet.
        self._undo.callback(self.wire.detach)
        self.wire.attach(program, self.mode)
        self._program[self.wire] = program
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
                # veth takes the largest MTU from the first program, not from one that replaces it.
                self.wire.detach()
                undo.callback(self.wire.detach)
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

    def skip(self, why: str) -> NoReturn:
        """Ends the case: it cannot be tried here."""
        raise SkipCase(why)

    @contextlib.contextmanager
    def sending(self, frames: Sequence[bytes], pause_s: float) -> Iterator[None]:
        """The peer sends these meanwhile, from another thread."""

        def send() -> None:
            for one in frames:
                self.wire.tap.send([one])
                time.sleep(pause_s)

        with self.later(0, send):
            yield

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
        return station

    def enter(self, station: Station, slot: int = 0, wire: Wire | None = None) -> None:
        """Puts a socket into the XSKMAP of the program in use."""
        wire = wire or self.wire
        if wire not in self._program:
            self.use(wire=wire)
        xsks = self._program[wire].maps["xsks_map"]
        maps.update(xsks.fd, xsks.info, struct.pack("=I", slot), struct.pack("=I", station.fd))

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

    def needs_unaligned(self) -> None:
        """Skips the case where frames across a page's end are no rule."""
        if self.mode.kind == "zerocopy":
            raise SkipCase("a device sees pages, which are not contiguous without huge pages")

    def closing(self, undo: contextlib.AbstractContextManager[object]) -> None:
        """Something that ends with the case."""
        self._undo.enter_context(undo)

    # Frames

    def inbound(self, count: int, size: int | list[int] = SMALLEST, *, first: int = 0) -> list[bytes]:
        """Frames for the peer to send, numbered from `first`."""
        wire = self.wire
        return numbered(count, size, first, to=wire.dut_mac, source=wire.peer_mac)

    def outbound(self, count: int, size: int | list[int] = SMALLEST, *, first: int = 0) -> list[bytes]:
        """Frames for the DUT to send."""
        wire = self.wire
        return numbered(count, size, first, to=wire.peer_mac, source=wire.dut_mac)

    def deliver(self, frames: Sequence[bytes], to: Station, *, refill: bool = True) -> list[Packet]:
        """The peer sends, the station receives; never more on the way than the rings in between hold."""
        packets: list[Packet] = []
        for at in range(0, len(frames), WINDOW):
            window = frames[at : at + WINDOW]
            self.wire.tap.send(window)
            packets += to.receive(len(window), refill=refill)
            if len(packets) < at + len(window):
                break  # what is lost is lost: the rest would only take longer
        return packets

    def deliver_unless_refused(self, frames: Sequence[bytes], to: Station, why: str) -> list[Packet]:
        """As `deliver` for a program that passes to the stack what it cannot do; skips if that is all."""
        self.wire.tap.send(frames)
        packets: list[Packet] = []
        passed: list[bytes] = []

        def came() -> bool:
            packets.extend(to.receive(0))
            passed.extend(self.wire.stack.receive(0))
            return len(packets) + len(passed) >= len(frames)

        self.until(came, f"{len(frames)} frames at the socket or the stack")
        if len(passed) == len(frames):
            raise SkipCase(why)
        return packets

    def collect(self, frames: Sequence[bytes], by: Station) -> list[bytes]:
        """The station sends, the peer receives."""
        got: list[bytes] = []
        for at in range(0, len(frames), WINDOW):
            window = frames[at : at + WINDOW]
            by.send(window)
            got += self.wire.tap.receive(len(window))
            if len(got) < at + len(window):
                break
        return got

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until it holds.

        Raises:
            AssertionError: it does not, within this time.
        """
        deadline = Deadline()
        while not condition():
            assert not deadline.over, f"waited {deadline.seconds:g} s for {what}"
            time.sleep(0.0005)

    @contextlib.contextmanager
    def later(self, seconds: float, call: Callable[[], None]) -> Iterator[None]:
        """Calls it from another thread after this time; at the end of the block it has been called."""
        timer = threading.Timer(seconds, call)
        timer.start()
        try:
            yield
        finally:
            timer.join()

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


def tail(change: int, *, frags: bool = False) -> ProgramSpec:
    """A program that makes packets longer by so many bytes, or shorter."""
    name = "conform_tail_frags" if frags else "conform_tail"
    return ProgramSpec("conform_tail", program=name, rodata={"bytes": change % (1 << 32)})


def numbered(count: int, size: int | list[int], first: int, *, to: bytes, source: bytes) -> list[bytes]:
    """Frames with the numbers from `first` on, all of one size or each of its own."""
    each = [size] * count if isinstance(size, int) else size
    return [frame(first + i, each[i], to=to, source=source) for i in range(count)]


def data(packets: Iterable[Packet]) -> list[bytes]:
    """The bytes of packets."""
    return [packet.data for packet in packets]
