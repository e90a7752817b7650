# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a case about a forwarder is given: the process, in any language, between an XSKMAP and a peer.

Asked of it is no more than this: it binds an AF_XDP socket to a queue of a device, puts it into a pinned
XSKMAP, and sends every packet back out of the device, with whatever addresses. It is ready when the kernel
says that its socket is in the map.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence

from labs.conformance.bench import Bench
from labs.conformance.case import SkipCase
from labs.conformance.frames import same, udp_frame
from labs.conformance.mode import Mode
from labs.conformance.programs import REDIRECT
from labs.conformance.tap import Tap
from labs.conformance.waiting import Deadline
from labs.harness.patience import patient
from labs.harness.pins import PinFolder
from labs.harness.process import Process, ProcessError
from labs.harness.runs import new_run_id
from xdp.pyxdp.errors import InputError
from xdp.xskmap import Reader, SocketInfo

ETH_P_IP = 0x0800  # linux/if_ether.h
HEADERS = 42  # Ethernet, IPv4, UDP: a forwarder may write other addresses there
WINDOW = 32
READY_S = 10.0
RESTARTS = 50  # how often a new forwarder may find the queue still taken by the one that was killed
PLACES = ("{dev}", "{queue}", "{map}")
OWN = f"{sys.executable} -m forwarder -i {{dev}} -q {{queue}} --xskmap {{map}} --action echo"
BINDINGS = {"native": "copy", "generic": "copy", "zerocopy": "zero-copy"}


def check_template(template: str) -> str:
    """The command of `--forwarder`, if it can be one.

    Raises:
        InputError: it does not say where device and map belong, or cannot be split.
    """
    missing = [place for place in ("{dev}", "{map}") if place not in template]
    if missing:
        raise InputError(
            f"--forwarder: the command has no {' and no '.join(missing)}; write for example "
            "--forwarder './echo {dev} {queue} {map}'"
        )
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise InputError(f"--forwarder: {error} in {template!r}") from None
    if shutil.which(words[0]) is None:
        raise InputError(f"--forwarder: command {words[0]!r} not found: build it, or correct its path")
    return template


class Forwarding:
    """A forwarder on the first DUT, which serves one case after the other; a context manager.

    Args:
        bench: where.
        mode: of the XDP program; a forwarder of our own binds its socket accordingly.
        template: its command, with {dev}, {queue}, {map}; None for our own forwarder.
    """

    def __init__(self, bench: Bench, mode: Mode, template: str | None = None) -> None:
        self.bench, self.mode = bench, mode
        self.wire = bench.site.wires[0]
        self._template = template or f"{OWN} --binding {BINDINGS[mode.kind]}"
        self._undo = contextlib.ExitStack()
        self._process: Process | None = None
        self._run = new_run_id()
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self._pins = undo.enter_context(PinFolder())
            self.program = bench.program(REDIRECT, self.wire)
            self._map_fd = self.program.map_fd("xsks_map")
            self._pins.pin(self._map_fd, "xsks_map")
            self._reader = Reader(fd=self._map_fd)
            undo.callback(self._reader.close)
            self.tap = undo.enter_context(Tap(self.wire.peer, self.wire.spec.peer, ETH_P_IP))
            self.stack = undo.enter_context(Tap(self.wire.dut, self.wire.spec.dut, ETH_P_IP))
            self._undo.push(undo.pop_all())

    # The process

    @property
    def process(self) -> Process:
        """The forwarder, started if it is not there, with its socket in the XSKMAP."""
        self.wire.attach(self.program, self.mode)
        if self._process is None or not self._process.running:
            self.stop()
            self._process = self._start()
        return self._process

    def _start(self) -> Process:
        values = (self.wire.spec.dut, "0", f"/proc/{os.getpid()}/fd/{self._pins.fd}/xsks_map")
        text = self._template
        for place, value in zip(PLACES, values, strict=True):
            text = text.replace(place, value)
        started = Process(shlex.split(text), run=self._run, namespace=self.wire.dut)
        try:
            started.wait_for(lambda: self.socket() is not None, patient(READY_S), "socket in the XSKMAP")
            self._check_mode()
        except BaseException:
            started.close()
            raise
        return started

    def _check_mode(self) -> None:
        found = self.socket()
        if self.mode.kind == "zerocopy" and found is not None and not found.zero_copy:
            raise SkipCase("the forwarder's socket is in copy mode")

    def stop(self) -> None:
        """Ends the forwarder; the next case gets a new one. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def kill_and_replace(self) -> int:
        """SIGKILL, and a new one at once; returns at which attempt it was ready."""
        assert self._process is not None
        self._process.kill()
        self._process.close()
        self._process = None
        for attempt in range(1, RESTARTS + 1):
            try:
                self._process = self._start()
                return attempt
            except ProcessError:
                if attempt == RESTARTS:
                    raise
                time.sleep(0.01)
        raise AssertionError("unreachable")

    def socket(self) -> SocketInfo | None:
        """The socket in slot 0, as the kernel has it."""
        found = self._reader.read(with_owners=False)
        return found.sockets.get(0)

    # Packets

    def datagrams(self, count: int, sizes: int | list[int] = 60, *, first: int = 0) -> list[bytes]:
        """Frames with an IPv4 datagram each, numbered from `first`."""
        each = [sizes] * count if isinstance(sizes, int) else sizes
        wire = self.wire
        return [udp_frame(first + i, each[i], to=wire.dut_mac, source=wire.peer_mac) for i in range(count)]

    def exchange(self, frames: Sequence[bytes], *, window: int = WINDOW) -> list[bytes]:
        """Sends them, a window at a time, and takes what comes back."""
        got: list[bytes] = []
        for at in range(0, len(frames), window):
            part = frames[at : at + window]
            self.tap.send(part)
            got += self.tap.receive(len(part))
            if len(got) < at + len(part):
                break  # what is lost is lost: the rest would only take longer
        return got

    def begin(self) -> None:
        """Forgets what a case before left on the way."""
        self.tap.receive(0)
        self.stack.receive(0)

    def came_back(self, got: Sequence[bytes], sent: Sequence[bytes]) -> None:
        """Asserts that the same packets came back, in order; their headers may be others."""
        same([one[HEADERS:] for one in got], [one[HEADERS:] for one in sent], "what came back")

    def settle(self) -> None:
        """Asserts that its socket lost nothing and found nothing wrong, and that its rings are empty."""
        deadline = Deadline()
        while True:
            found = self.socket()
            assert found is not None, "the forwarder's socket is not in the XSKMAP any more"
            levels = {"rx": found.rx.level if found.rx else 0, "tx": found.tx.level if found.tx else 0}
            if not any(levels.values()) or deadline.over:
                break
            time.sleep(0.001)
        assert not any(levels.values()), f"packets are left in the rings: {levels}"
        lost = found.statistics
        counted = (lost.rx_dropped, lost.rx_ring_full or 0, lost.tx_invalid_descs or 0)
        assert not any(counted), f"the forwarder's socket lost packets: {lost}"

    def close(self) -> None:
        """Ends the forwarder."""
        self._undo.close()

    def __enter__(self) -> Forwarding:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
