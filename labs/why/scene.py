# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A network with a fault in it, traffic that goes on while it is diagnosed, and what is found."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from labs.harness.patience import patient
from labs.harness.process import Process
from labs.harness.topology import PAIR, Topology, TopologySpec
from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding
from labs.harness.why.gather import gather
from labs.harness.why.rules import diagnose, fired
from labs.harness.why.view import Target, View
from labs.xskmap.station import ManualSocket
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import maps, xsk

# All that gen0 sends arrives on queue 0 of dut0.
TWO_QUEUES = PAIR.with_links(queues=2).with_end("gen0", send_queues=1)
SECONDS = 0.1  # of watching: some 100 packets
PAUSE_S = 0.001  # between two packets of the sender
ENOUGH, LOOKS = 5, 20  # packets that a look takes; looks until then
# A datagram from gen0 to dut0, to the port that `redirect_udp` takes.
OURS = bytes(
    Ether(src=PAIR.end("gen0").mac, dst=PAIR.end("dut0").mac)
    / IP(src=PAIR.end("gen0").ip, dst=PAIR.end("dut0").ip)
    / UDP(sport=40000, dport=4242)
    / bytes(18)
)
# What src/faulty.c can be told to do wrong, and the cause to be named.
FAULTS = {
    "deaf": "rx_ring_full",
    "no-refill": "fill_empty",
    "leak": "umem_exhausted",
    "no-kick": "tx_not_kicked",
    "no-completion": "completion_full",
}
MANY = 600  # packets at once: more than the foreign program has frames
SIOCSIFFLAGS, SIOCSIFMTU = 0x8914, 0x8922  # linux/sockios.h
UP = 1


class Scene:
    """Namespaces, programs, sockets, processes and senders of one test; a context manager."""

    def __init__(self, spec: TopologySpec = PAIR) -> None:
        self._undo = contextlib.ExitStack()
        self.topology = self._undo.enter_context(Topology.build(spec))
        self.gen, self.dut = self.topology["gen"], self.topology["dut"]
        self._sending = False
        self._sent = 0  # calls of the senders

    def load(self, spec: ProgramSpec | None = None) -> Program:
        """A program, not attached yet; `redirect_udp` by default."""
        return self._undo.enter_context(Program.load(spec or ProgramSpec()))

    def attach(self, spec: ProgramSpec | None = None, device: str = "dut0", mode: str = "native") -> Program:
        """A program, attached to a device."""
        program = self.load(spec)
        with self.topology.namespace_of(device).entered():
            program.attach(device, mode)  # type: ignore[arg-type]  # tests name the modes
        return program

    def start(self, binary: Path, program: Program | None, fault: str = "none", queue: int = 0) -> Process:
        """The foreign AF_XDP program on dut0, in the program's XSKMAP or in none."""
        fd = program.map_fd("xsks_map") if program else -1
        return self._undo.enter_context(
            Process(
                [str(binary), "dut0", str(queue), str(fd), fault],
                run=self.topology.run,
                namespace=self.dut,
                ready_option="--ready-fd",
                pass_fds=[fd] if fd >= 0 else [],
            )
        )

    def own_socket(self, queue: int = 0, rx_size: int = 64, binding: int = xsk.XDP_COPY) -> ManualSocket:
        """A socket of this very process on dut0, which does nothing by itself."""
        with self.dut.entered():
            return self._undo.enter_context(ManualSocket(queue, rx_size=rx_size, binding=binding))

    def put(self, program: Program, slot: int, fd: int) -> None:
        """Puts a socket into a slot."""
        xsks = program.maps["xsks_map"]
        maps.update(xsks.fd, xsks.info, struct.pack("=I", slot), struct.pack("=I", fd))

    def set_flags(self, device: str, *, up: bool) -> None:
        """Takes a device up or down."""
        self._ioctl(device, SIOCSIFFLAGS, struct.pack("=h", UP if up else 0))

    def set_mtu(self, device: str, mtu: int) -> None:
        """Sets one end's MTU."""
        self._ioctl(device, SIOCSIFMTU, struct.pack("=i", mtu))

    def _ioctl(self, device: str, request: int, value: bytes) -> None:
        namespace = self.topology.namespace_of(device)
        with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, request, struct.pack("16s", device.encode()) + value.ljust(24, b"\0"))

    def send(self, send: Callable[[], object], *, burst: int = 0) -> None:
        """Calls again and again, until the scene closes; `burst` times at once to begin with."""
        stop = threading.Event()
        self._sending = True

        def run() -> None:
            for _ in range(burst):
                _quietly(send)
            while not stop.wait(PAUSE_S):
                _quietly(send)
                self._sent += 1

        thread = threading.Thread(target=run, name="sender")
        thread.start()
        self._undo.callback(thread.join)
        self._undo.callback(stop.set)

    def frames(self, frame: bytes, *, device: str = "gen0", burst: int = 0) -> None:
        """Sends a frame as it is, again and again."""
        namespace = self.topology.namespace_of(device)
        out = self._undo.enter_context(namespace.socket(socket.AF_PACKET, socket.SOCK_RAW))
        out.bind((device, 0))
        out.setblocking(False)  # a device that takes nothing any more must not hold the sender up
        self.send(lambda: out.send(frame), burst=burst)

    def socket(self, role: str, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket of the stack of a namespace."""
        return self._undo.enter_context(self.topology[role].socket(socket.AF_INET, kind))

    def enter(self, resource: contextlib.AbstractContextManager[object]) -> None:
        """Something to be closed with the scene."""
        self._undo.enter_context(resource)

    def target(self, device: str = "dut0") -> Target:
        """A device of the scene, as `gather` takes it."""
        namespace = self.topology.namespace_of(device)
        return Target(namespace.inode, namespace.interface_index(device))

    def look(
        self, device: str = "dut0", want: str = "", seconds: float | None = SECONDS, *, fexit: bool = False
    ) -> Evidence:
        """Gathers evidence while the traffic goes on; again where a busy machine did not let it go on."""
        places = {namespace.inode: role for role, namespace in self.topology.namespaces.items()}
        for _ in range(LOOKS):
            before = self._sent
            with View(places) as view:
                evidence = gather(view, self.target(device), seconds=seconds, want=want, fexit=fexit)
            if seconds is None or not self._sending or self._sent - before >= ENOUGH:
                return evidence
        raise AssertionError(f"the scene's sender was not let run in {LOOKS} times {seconds} s")

    def ask(self, device: str = "dut0", want: str = "", *, fexit: bool = False) -> Finding:
        """The cause.

        Raises:
            AssertionError: another rule fires, too.
        """
        evidence = self.look(device, want, fexit=fexit)
        found = diagnose(evidence)
        names = [one.name for one in fired(evidence)]
        assert names == ([] if found.healthy else [found.name]), f"not one cause but {names}\n{evidence}"
        return found

    def close(self) -> None:
        """Ends all of it. Idempotent."""
        self._undo.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _quietly(send: Callable[[], object]) -> None:
    """A sender that goes on whatever the fault does to it: no buffer, device down, packet too long."""
    try:
        send()
    except OSError as error:
        if error.errno not in (errno.ENOBUFS, errno.EAGAIN, errno.ENETDOWN, errno.ENXIO, errno.EMSGSIZE):
            raise


def until(condition: Callable[[], bool], what: str, seconds: float = 3.0) -> None:
    """Polls until the condition holds.

    Raises:
        AssertionError: it did not within `seconds`.
    """
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.002)
