# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A real UDP socket that checks what it receives: how many, in order, once each, byte for byte."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from labs.harness.frames import MAGIC, read_sequence
from labs.harness.netns import NetNs
from labs.harness.patience import patient
from xdp.pyxdp.errors import InputError, KernelError

# include/uapi/asm-generic/socket.h; Python names them only partly
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
SK_MEMINFO_DROPS = 8  # include/uapi/linux/sock_diag.h
RECEIVE_BUFFER_BYTES = 256 << 20  # each datagram counts with its whole buffer, 0.8 to 4 KiB for small ones
MAX_DATAGRAM = 65535
SETTLE_S = 0.02
MAX_EXAMPLES = 10


@dataclass(frozen=True)
class ReceivedReport:
    """What a socket received.

    Attributes:
        expected: datagrams that should have come.
        count: datagrams that came, all kinds.
        unique: of those expected, how many came at least once.
        duplicates: further copies of expected ones.
        reordered: datagrams that came after one with a higher number (RFC 4737, type-P-reordered).
        unexpected: sequence numbers that nobody expected.
        unstamped: datagrams without our magic.
        corrupt: stamped, but the payload is not what was sent.
        missing: ranges of expected numbers that never came, both ends included.
        sources: "address:port" → datagrams.
        kernel_drops: datagrams that the kernel dropped at this socket, its buffer being full.
        corrupt_examples: the first few: sequence number, payload.
        duration_ns: from the first to the last datagram.
        timed_out: the deadline passed before all had come.
    """

    expected: int
    count: int
    unique: int
    duplicates: int
    reordered: int
    unexpected: int
    unstamped: int
    corrupt: int
    missing: tuple[tuple[int, int], ...]
    sources: dict[str, int]
    kernel_drops: int
    corrupt_examples: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    duration_ns: int = 0
    timed_out: bool = False

    @property
    def in_order(self) -> bool:
        """Nothing came after what it should have preceded."""
        return self.reordered == 0

    @property
    def complete(self) -> bool:
        """Every expected datagram came once, in order, uncorrupted, and nothing else came."""
        return (
            self.unique == self.expected == self.count
            and self.in_order
            and not (self.corrupt or self.kernel_drops)
        )

    @property
    def lost(self) -> int:
        """Expected datagrams that never came."""
        return self.expected - self.unique

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["missing"] = [list(pair) for pair in self.missing]
        plain["corrupt_examples"] = [[number, data.hex()] for number, data in self.corrupt_examples]
        return {**plain, "in_order": self.in_order, "complete": self.complete, "lost": self.lost}


class Receiver:
    """A bound UDP socket with a large buffer, so that it can be read after sending; a context manager.

    Args:
        namespace: where it lives.
        port: UDP port.
        address: local address; "" for any, IPv4; "::" for any, IPv6.

    Raises:
        InputError: the port or the address is none.
        KernelError: the port is taken, or the address is not one of the namespace.
    """

    def __init__(self, namespace: NetNs, port: int, address: str = "") -> None:
        if not 1 <= port <= 65535:
            raise InputError(f"UDP port {port}: use 1 to 65535")
        self.port = port
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = namespace.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            except PermissionError:  # without CAP_NET_ADMIN as much as the system allows
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._bind(address, namespace.role)
        except BaseException:
            self._socket.close()
            raise

    @property
    def drops(self) -> int:
        """Datagrams that the kernel has dropped at this socket since it was opened."""
        info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 64)
        return int(struct.unpack_from("=I", info, 4 * SK_MEMINFO_DROPS)[0])

    def fileno(self) -> int:
        """For `select` and friends."""
        return self._socket.fileno()

    def drain(
        self,
        expected: int | Iterable[int],
        deadline_s: float = 5.0,
        *,
        payload: Callable[[int], bytes] | None = None,
        offset: int = 0,
        settle_s: float = SETTLE_S,
    ) -> ReceivedReport:
        """Read until all expected datagrams have come and nothing more comes, or the deadline passes.

        Args:
            expected: how many, numbered from 0, or the numbers themselves.
            deadline_s: bound on the whole.
            payload: gives the payload of a number (`Traffic.payload`), to be compared byte by byte.
            offset: of the stamp within the payload.
            settle_s: how long to listen for what should not come, after the last.
        """
        numbers = frozenset(range(expected)) if isinstance(expected, int) else frozenset(expected)
        tally = _Tally(numbers, payload, offset)
        drops = self.drops
        settle_s = patient(settle_s)
        deadline = time.monotonic() + patient(deadline_s)
        buffer = bytearray(MAX_DATAGRAM)
        view = memoryview(buffer)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            done = len(tally.seen) == len(numbers)
            now = time.monotonic()
            # Late duplicates count too, but a stream of them must not keep us for ever.
            wait = min(settle_s, deadline + settle_s - now) if done else deadline - now
            if wait <= 0 or not poll.poll(wait * 1000):
                break
            for _ in range(1024):
                try:
                    size, source = self._socket.recvfrom_into(buffer)
                except BlockingIOError:
                    break
                tally.add(view[:size], source)
        return tally.report(self.drops - drops, timed_out=len(tally.seen) < len(numbers))

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, address: str, role: str) -> None:
        try:
            self._socket.bind((address, self.port))
        except socket.gaierror as error:
            raise InputError(f"address {address!r}: {error.strerror}; write it as 192.168.1.10") from error
        except OSError as error:
            where = f"{role}: {address or 'any address'} port {self.port}"
            raise KernelError("bind UDP socket", where, error.errno or 0) from error


class _Tally:
    """Counts datagrams as they come."""

    def __init__(self, numbers: frozenset[int], payload: Callable[[int], bytes] | None, offset: int) -> None:
        self.seen: set[int] = set()
        self._numbers = numbers
        self._payload = payload
        self._offset = offset
        self._count = self._duplicates = self._reordered = 0
        self._unexpected = self._unstamped = self._corrupt = 0
        self._highest = -1
        self._sources: dict[Any, int] = {}
        self._examples: list[tuple[int, bytes]] = []
        self._first_ns = self._last_ns = 0

    def add(self, data: memoryview, source: Any) -> None:
        self._last_ns = time.monotonic_ns()
        self._first_ns = self._first_ns or self._last_ns
        self._count += 1
        self._sources[source] = self._sources.get(source, 0) + 1
        number = read_sequence(data, self._offset, MAGIC)
        if number is None:
            self._unstamped += 1
            return
        if number not in self._numbers:
            self._unexpected += 1
            return
        if number in self.seen:
            self._duplicates += 1
        elif number < self._highest:
            self._reordered += 1
        self._highest = max(self._highest, number)
        self.seen.add(number)
        if self._payload and data != self._payload(number):
            self._corrupt += 1
            if len(self._examples) < MAX_EXAMPLES:
                self._examples.append((number, bytes(data)))

    def report(self, drops: int, *, timed_out: bool) -> ReceivedReport:
        return ReceivedReport(
            expected=len(self._numbers),
            count=self._count,
            unique=len(self.seen),
            duplicates=self._duplicates,
            reordered=self._reordered,
            unexpected=self._unexpected,
            unstamped=self._unstamped,
            corrupt=self._corrupt,
            missing=ranges(self._numbers - self.seen),
            sources={_name(source): count for source, count in self._sources.items()},
            kernel_drops=drops,
            corrupt_examples=tuple(self._examples),
            duration_ns=self._last_ns - self._first_ns,
            timed_out=timed_out,
        )


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as sorted ranges, both ends included: {1, 2, 5} → ((1, 2), (5, 5))."""
    result: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if result and result[-1][1] == number - 1:
            result[-1] = (result[-1][0], number)
        else:
            result.append((number, number))
    return tuple(result)


def _name(source: tuple[Any, ...]) -> str:
    host, port = source[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
