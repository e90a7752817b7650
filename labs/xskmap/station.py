# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pair of namespaces with a redirecting program, and AF_XDP sockets whose rings a test moves by hand."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import TypeVar

from labs.harness.patience import patient
from labs.harness.topology import PAIR, Topology
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import maps, xsk

_Value = TypeVar("_Value")
FRAME = 2048
FRAMES = 256
# Broadcast and an EtherType for experiments (RFC 5342, section B): no stack answers it.
PACKET = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + bytes(46)
_libc = ctypes.CDLL(None)


def until(
    read: Callable[[], _Value], condition: Callable[[_Value], bool], what: str, seconds: float = 3.0
) -> _Value:
    """Reads until the condition holds; fails with what was last seen."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        seen = read()
        if condition(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds:g} s; last seen: {seen}")
        time.sleep(0.005)


class ManualSocket:
    """An AF_XDP socket with a UMEM of 256 frames, which does nothing by itself.

    Args:
        queue: of dut0, in the calling thread's network namespace.
        shared: another socket, whose UMEM this one uses with rings of its own.
        headroom: bytes in front of each packet.
        binding: XDP_COPY or XDP_ZEROCOPY; a shared one has that of the first.
        rx_size, tx_size, fill_size, completion_size: entries of the rings.
    """

    def __init__(
        self,
        queue: int = 0,
        *,
        shared: ManualSocket | None = None,
        headroom: int = 0,
        binding: int = xsk.XDP_COPY,
        rx_size: int = 64,
        tx_size: int = 32,
        fill_size: int = 128,
        completion_size: int = 16,
    ) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            if shared:
                self.umem: xsk.XskUmem = shared.umem
            else:
                self.memory = mmap.mmap(-1, FRAMES * FRAME)
                self.umem = xsk.XskUmem(
                    ctypes.addressof(ctypes.c_char.from_buffer(self.memory)),
                    FRAMES * FRAME,
                    frame_size=FRAME,
                    headroom=headroom,
                    fill_size=fill_size,
                    completion_size=completion_size,
                )
                on_error.callback(self.umem.close)
            flags = 0 if shared else binding | xsk.XDP_USE_NEED_WAKEUP
            self.socket = xsk.XskSocket(
                self.umem,
                "dut0",
                queue,
                rx_size=rx_size,
                tx_size=tx_size,
                bind_flags=flags,
                shared=bool(shared),
            )
            on_error.callback(self.socket.close)
            self._undo.push(on_error.pop_all())

    @property
    def fd(self) -> int:
        """The socket's."""
        return self.socket.fd

    @property
    def inode(self) -> int:
        """The number in socket:[inode]."""
        return os.fstat(self.fd).st_ino

    def fill(self, count: int) -> None:
        """Gives frames for reception, from the start of the UMEM."""
        ring = self.socket.fill
        start = ring.producer[0]
        entries = (ctypes.c_uint64 * ring.size).from_address(ring.ring)
        for i in range(count):
            entries[(start + i) & ring.mask] = i * FRAME
        ring.producer[0] = start + count

    def take(self, count: int) -> None:
        """Takes received packets."""
        self.socket.rx.consumer[0] += count

    def queue_for_sending(self, count: int, length: int = len(PACKET)) -> None:
        """Puts descriptors into the TX ring, from the end of the UMEM; nothing wakes the kernel."""
        ring = self.socket.tx
        start = ring.producer[0]
        for i in range(count):
            at = ring.ring + ((start + i) & ring.mask) * 16  # struct xdp_desc, linux/if_xdp.h
            address = (FRAMES - 1 - i) * FRAME
            ctypes.memmove(at, struct.pack("=QII", address, length, 0), 16)
        ring.producer[0] = start + count

    def kick(self) -> None:
        """Lets the kernel send."""
        _libc.sendto(self.fd, None, 0, socket.MSG_DONTWAIT, None, 0)

    def statistics(self) -> dict[str, int]:
        """What the kernel says to the process itself."""
        return xsk.statistics(self.fd)

    def close(self) -> None:
        """Closes socket and UMEM."""
        self._undo.close()

    def __enter__(self) -> ManualSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Station:
    """gen0 and dut0 in namespaces, `redirect_queue` attached to dut0.

    Args:
        queues: of both ends.
        entries: slots of the XSKMAP.
    """

    def __init__(self, queues: int = 1, entries: int = 64) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.topology = undo.enter_context(Topology.build(PAIR.with_links(queues=queues)))
            self.dut = self.topology["dut"]
            spec = ProgramSpec("redirect_queue", map_entries={"xsks_map": entries})
            self.program = undo.enter_context(Program.load(spec))
            with self.dut.entered():
                self.program.attach("dut0", "native")
            self._undo.push(undo.pop_all())

    @property
    def map_fd(self) -> int:
        """Of the XSKMAP."""
        return self.program.map_fd("xsks_map")

    @property
    def map_id(self) -> int:
        """Of the XSKMAP."""
        return self.program.maps["xsks_map"].id

    def open_socket(self, queue: int = 0, **options: int) -> ManualSocket:
        """A socket on dut0 with these ring sizes and headroom, closed with the station at the latest."""
        with self.dut.entered():
            opened = ManualSocket(queue, shared=None, **options)
        self._undo.callback(opened.close)
        return opened

    def open_shared_socket(self, queue: int, shared: ManualSocket) -> ManualSocket:
        """A socket on dut0 with the UMEM of another, but rings of its own."""
        with self.dut.entered():
            opened = ManualSocket(queue, shared=shared)
        self._undo.callback(opened.close)
        return opened

    def put(self, slot: int, fd: int) -> None:
        """Puts a socket into a slot."""
        xsks = self.program.maps["xsks_map"]
        maps.update(xsks.fd, xsks.info, struct.pack("=I", slot), struct.pack("=I", fd))

    def remove(self, slot: int) -> None:
        """Empties a slot."""
        del self.program.maps["xsks_map"][slot]

    def send(self, count: int) -> None:
        """Sends packets from gen0 to dut0."""
        with self.topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("gen0", 0))
            for _ in range(count):
                sender.send(PACKET)

    def close(self) -> None:
        """Closes the sockets, the program, the namespaces."""
        self._undo.close()

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
