# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The suite's instrument: one AF_XDP socket, each of whose steps a case takes by itself, and counts."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from forwarder import busy_poll
from labs.conformance.memory import ADDRESS_MASK, OFFSET_SHIFT, Memory, UmemSpec
from labs.conformance.mode import Mode
from labs.conformance.rings import ADDRESS, DESCRIPTOR, Consumer, Producer
from labs.conformance.waiting import Deadline
from xdp.pyxdp import xsk
from xdp.pyxdp._native import Ring

BUSY_USECS = 20
BUSY_BUDGET = 64
TAKEN_S = 1.0
STEP_MS = 5  # how long one poll() waits before the rings are looked at again
# A copy-mode send is refused so for a while only: the completion ring is full, or the device's queue.
TEMPORARY = (errno.EAGAIN, errno.EBUSY, errno.ENOBUFS)
Descriptor = tuple[int, int, int]  # address, length, options


@dataclass(frozen=True)
class SocketSpec:
    """A socket: entries of its rings (0 for none), and whether packets may fill several frames."""

    rx_size: int = 256
    tx_size: int = 128
    multi_buffer: bool = False


@dataclass(frozen=True)
class Packet:
    """What was received.

    Attributes:
        data: its bytes.
        address: of the first byte, in the UMEM.
        before: what stands there, 16 bytes.
        frames: in how many it came.
    """

    data: bytes
    address: int
    before: bytes
    frames: int


class Opened(Protocol):
    """A bound socket with its rings: made by us, or by another process."""

    rx: Ring
    tx: Ring
    fill: Ring
    completion: Ring

    @property
    def fd(self) -> int:
        """The socket's."""
        ...

    def close(self) -> None:
        """Closes it."""
        ...


class Station:
    """A socket, its four rings, and the frames that are on their way.

    Args:
        opened: the socket; closed with the station.
        memory: of its UMEM, which may have other sockets, and is closed after them.
        mode: whether to wait for the rings' flags before a system call.
        spec: its rings.
        queue: of the device.
    """

    def __init__(self, opened: Opened, memory: Memory, mode: Mode, spec: SocketSpec, queue: int = 0) -> None:
        self.memory, self.mode, self.spec, self.queue = memory, mode, spec, queue
        self.fill = Producer(opened.fill, ADDRESS)
        self.completion = Consumer(opened.completion, ADDRESS)
        if spec.rx_size:
            self.rx = Consumer(opened.rx, DESCRIPTOR)
        if spec.tx_size:
            self.tx = Producer(opened.tx, DESCRIPTOR)
        self.held = 0
        self.fill_ring = int(opened.fill.ring)
        self.refusals: Counter[int] = Counter()
        self._expected: dict[str, int] = {}
        self._unfinished: list[tuple[int, int]] = []
        self._opened = opened
        self._socket = socket.socket(xsk.AF_XDP, socket.SOCK_RAW, 0, fileno=opened.fd)
        self._poller = select.poll()

    @property
    def fd(self) -> int:
        """The socket's descriptor."""
        return self._opened.fd

    # Receiving

    def give(self, count: int) -> None:
        """Gives the kernel frames for reception, and wakes it where it waits for them."""
        self.fill.produce(self.memory.give(count))
        if self.fill.needs_wakeup:
            self.wake_reception()

    def await_taken(self, taken: Callable[[], bool]) -> None:
        """Waits until a zero-copy device has taken frames of the first that it was given.

        Before that it has nowhere to put packets: they are lost, or kept by what is in front of it. (QEMU's
        hub delivers the first one that it kept after the next one that comes.)

        Args:
            taken: whether it has; the ring's shared index tells that only after the first packet.
        """
        deadline = Deadline(TAKEN_S)
        while not taken():
            self.wake_reception()
            if deadline.over:
                return  # what comes now shows whether the device works all the same
            self.poll(0, 1)

    def give_back(self) -> None:
        """Gives it all that are free and fit."""
        self.give(min(len(self.memory.receive_pool), self.fill.room))

    def consume(self, most: int | None = None) -> list[Packet]:
        """Takes packets that are there, copies them, and frees their frames; waits for none.

        A packet of several frames is not split: what of it has not come yet is waited for by `receive`.
        """
        packets: list[Packet] = []
        for descriptor in self.rx.consume(most):
            address = self.memory.received(int(descriptor["addr"]))
            self._unfinished.append((address, int(descriptor["len"])))
            if not descriptor["options"] & xsk.XDP_PKT_CONTD:
                packets.append(self._packet(self._unfinished))
                self._unfinished = []
        return packets

    def receive(self, count: int, *, refill: bool = True, seconds: float | None = None) -> list[Packet]:
        """Waits for that many packets, and takes all that are there by then; fewer when time is up."""
        packets: list[Packet] = []
        deadline = Deadline(seconds)
        while True:
            packets += self.consume()
            if refill:
                self.give_back()
            if len(packets) >= count or deadline.over:
                return packets
            self.wake_reception()
            self.poll(select.POLLIN, STEP_MS)

    def wake_reception(self) -> None:
        """The system call that reception needs: where the fill ring's flag says so, and for busy polling."""
        if self.mode.busy_poll or self.fill.needs_wakeup:
            with contextlib.suppress(BlockingIOError):
                self._socket.recv(0, socket.MSG_DONTWAIT)

    # Sending

    def describe(self, data: bytes) -> list[Descriptor]:
        """Writes a packet into frames, several if it is larger than one; gives the descriptors."""
        size = self.memory.spec.frame_size
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert len(pieces) == 1 or self.spec.multi_buffer, f"{len(data)} bytes do not fit into {size}"
        made = []
        for number, piece in enumerate(pieces):
            address = self.write(piece)
            made.append((address, len(piece), xsk.XDP_PKT_CONTD if number < len(pieces) - 1 else 0))
        return made

    def write(self, data: bytes, offset: int = 0) -> int:
        """Writes bytes into a frame for sending; gives their address."""
        address = self.memory.lend() + offset
        self.memory.data[address : address + len(data)] = np.frombuffer(data, np.uint8)
        return address

    def post(self, descriptors: Sequence[Descriptor]) -> None:
        """Puts descriptors into the TX ring as they are; nothing wakes the kernel."""
        self.tx.produce(np.array(descriptors, DESCRIPTOR))

    def post_doomed(self, descriptors: Sequence[Descriptor]) -> None:
        """Puts descriptors into the TX ring that shall not be sent."""
        self.memory.doomed.update(address for address, _, _ in descriptors)
        self.post(descriptors)

    def post_at(self, address: int, data: bytes) -> None:
        """Writes a packet to this place of the UMEM, and posts it."""
        self.memory.lend_at(address)
        place = (address & ADDRESS_MASK) + (address >> OFFSET_SHIFT)
        self.memory.data[place : place + len(data)] = np.frombuffer(data, np.uint8)
        self.post([(address, len(data), 0)])

    def kick(self) -> int:
        """Lets the kernel send, if that needs a system call; gives its errno, 0 for success.

        Raises:
            OSError: refused for good.
        """
        if self.mode.need_wakeup and not self.tx.needs_wakeup:
            return 0
        return self.send_call()

    def send_call(self) -> int:
        """The system call of `kick`, whether needed or not."""
        try:
            self._socket.send(b"", socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno not in TEMPORARY:
                raise
            self.refusals[error.errno] += 1
            return int(error.errno)
        return 0

    def reap(self, most: int | None = None) -> list[int]:
        """Takes completions, and frees their frames; gives the addresses."""
        addresses = [int(address) for address in self.completion.consume(most)]
        for address in addresses:
            self.memory.take_back(address)
        return addresses

    def pass_on(self, other: Station) -> None:
        """Posts all that another socket on the same UMEM received, from where it lies."""
        for descriptor in other.rx.consume():
            address = int(descriptor["addr"])
            self.memory.received(address)
            self.memory.lend_at(address)
            self.post([(address, int(descriptor["len"]), 0)])

    def send(self, frames: Iterable[bytes], *, seconds: float | None = None) -> None:
        """Sends packets, as many at once as fit, and waits until all are completed.

        Raises:
            AssertionError: they are not, within this time.
        """
        for data in frames:
            needed = -(-len(data) // self.memory.spec.frame_size)
            if min(self.tx.room, len(self.memory.send_pool)) < needed:
                self.flush(seconds=seconds)
            self.post(self.describe(data))
        self.flush(seconds=seconds)

    def flush(self, *, seconds: float | None = None) -> None:
        """Kicks and reaps until all that was posted is completed.

        Raises:
            AssertionError: it is not, within this time.
        """
        deadline = Deadline(seconds)
        while self.tx.level or self.memory.lent:
            if self.tx.level:
                self.kick()
            if not self.reap():
                assert not deadline.over, (
                    f"{self.tx.level} descriptors not sent and {len(self.memory.lent)} frames not completed "
                    f"within {deadline.seconds:g} s; refused: {dict(self.refusals)}"
                )
                self.poll(select.POLLOUT, STEP_MS if self.tx.level == 0 else 0)

    # Both

    def poll(self, events: int, milliseconds: int) -> int:
        """Waits for one of these events (select.POLLIN …); gives those that are there, 0 when time is up."""
        self._poller.register(self.fd, events)
        found = self._poller.poll(milliseconds)
        return found[0][1] if found else 0

    def statistics(self) -> dict[str, int]:
        """XDP_STATISTICS."""
        return xsk.statistics(self.fd)

    def prefer_busy_poll(self) -> None:
        """Makes reception the business of whoever asks for packets."""
        busy_poll.ask(self._socket, BUSY_USECS, BUSY_BUDGET)

    def set_option(self, option: int, value: bytes) -> None:
        """Sets an option of SOL_XDP.

        Raises:
            OSError: refused; ENOPROTOOPT where the kernel does not know it.
        """
        self._socket.setsockopt(xsk.SOL_XDP, option, value)

    def expect(self, *, held: int = 0, **statistics: int) -> None:
        """States what the case moves: XDP_STATISTICS by name, and how many frames the kernel may keep."""
        self.held = held
        self._expected = statistics

    def check(self) -> None:
        """Asserts that no counter moved but those stated, and these exactly so far."""
        found = self.statistics()
        # Not stated in any mode: how often a driver or a kick looks at an empty ring is its own affair.
        free = {"tx_ring_empty_descs"}
        if self.mode.kind == "zerocopy":  # a driver takes frames ahead, until there are none
            free.add("rx_fill_ring_empty_descs")
        for name, value in found.items():
            wanted = self._expected.get(name, 0)
            if name in self._expected or name not in free:
                assert value == wanted, f"{name} is {value}, not {wanted}"

    def close(self) -> None:
        """Closes the socket; the memory is its owner's."""
        self._socket.detach()
        self._opened.close()

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _packet(self, parts: Sequence[tuple[int, int]]) -> Packet:
        data = self.memory.data
        first = parts[0][0]
        return Packet(
            b"".join(data[address : address + length].tobytes() for address, length in parts),
            first,
            data[max(first - 16, 0) : first].tobytes(),
            len(parts),
        )


def register(memory: Memory, spec: UmemSpec) -> xsk.XskUmem:
    """Makes the memory a UMEM."""
    return xsk.XskUmem(
        memory.address,
        spec.size,
        frame_size=spec.frame_size,
        headroom=spec.headroom,
        fill_size=spec.fill_size,
        completion_size=spec.completion_size,
        flags=xsk.XDP_UMEM_UNALIGNED_CHUNK_FLAG if spec.unaligned else 0,
    )
