# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The socket engine: the plan's datagrams out of real UDP sockets, many in one system call (sendmmsg).

For what the kernel's own stack does to packets: it writes the headers, routes, segments and checksums. Of a
packet of the plan only addresses, ports and payload are taken, so only these can vary.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from ctypes import POINTER, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass

from labs.harness.frames import UDP, layout
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

from .forge import Forge
from .limits import GONE, is_gone
from .plan import TrafficPlan, TrafficReport
from .scapy_engine import wait_until
from .stamp import STAMP_BYTES, pack

AT_ONCE = 64
MAX_SOCKETS = 1024
SO_NO_CHECK = 11  # include/uapi/asm-generic/socket.h
FIELDS = ("udp.sport", "udp.dport", "ip.dst", "ip6.dst")
TELL_NS = 100_000_000


class _IoVec(ctypes.Structure):
    _fields_ = (("base", c_void_p), ("length", c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_uint),
        ("iov", POINTER(_IoVec)),
        ("iov_length", c_size_t),
        ("control", c_void_p),
        ("control_length", c_size_t),
        ("flags", c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", c_uint))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (c_int, POINTER(_MMsgHdr), c_uint, c_int)


@dataclass(frozen=True)
class _Datagram:
    """What is taken of one packet of the plan."""

    family: int
    destination: int
    sport: int
    dport: int
    payload: bytes
    digest: int


def send_socket(
    plan: TrafficPlan,
    namespace: NetNs,
    interface: str,
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrafficReport:
    """Sends a plan; see `engines.send`.

    Raises:
        InputError: a packet is no UDP datagram, or a field varies that a socket does not set.
        KernelError: the kernel refused a socket or a datagram (ENETUNREACH: there is no route).
    """
    for vary in plan.vary:
        if vary.field not in FIELDS:
            raise InputError(
                f"{vary.field} cannot vary with the socket engine, the kernel sets it; "
                f"those that can: {', '.join(FIELDS)}"
            )
    index = namespace.interface_index(interface)
    with contextlib.ExitStack() as sockets:
        sender = _SocketSender(Forge(plan), namespace, interface, sockets)
        return sender.run(progress, stop, lambda: is_gone(namespace, interface, index))


class _SocketSender:
    def __init__(self, forge: Forge, namespace: NetNs, interface: str, sockets: contextlib.ExitStack) -> None:
        self._plan, self._namespace, self._interface = forge.plan, namespace, interface
        self._forge = forge
        self._datagrams = [self._datagram(index) for index in range(len(forge.blanks))]
        self._stack = sockets
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        self._sent = self._bytes = 0
        room = max((len(one.payload) for one in self._datagrams), default=0) or 1
        self._payloads = (ctypes.c_char * (room * AT_ONCE))()
        self._names = (ctypes.c_char * (28 * AT_ONCE))()  # sizeof(struct sockaddr_in6)
        self._vectors = (_IoVec * AT_ONCE)()
        self._messages = (_MMsgHdr * AT_ONCE)()
        for index in range(AT_ONCE):
            self._vectors[index].base = ctypes.addressof(self._payloads) + index * room
            header = self._messages[index].header
            header.iov, header.iov_length = ctypes.pointer(self._vectors[index]), 1
            header.name = ctypes.addressof(self._names) + index * 28
        self._room = room

    def _datagram(self, index: int) -> _Datagram:
        blank = self._forge.blanks[index]
        frame, where = blank.frame, layout(blank.frame)
        if where.protocol != UDP:
            raise InputError(
                f"packet {index + 1} is no UDP datagram: the socket engine sends UDP only; use xdp or scapy"
            )
        start = where.payload - 8
        sport, dport = struct.unpack_from("!HH", frame, start)
        v6 = frame[12:14] == b"\x86\xdd" or (frame[12:14] == b"\x81\x00" and frame[16:18] == b"\x86\xdd")
        at, size = (start - 16, 16) if v6 else (start - 4, 4)
        return _Datagram(
            socket.AF_INET6 if v6 else socket.AF_INET,
            int.from_bytes(frame[at : at + size], "big"),
            sport,
            dport,
            frame[where.payload : where.end],
            blank.digest,
        )

    def _socket(self, family: int, port: int) -> socket.socket:
        found = self._sockets.get((family, port))
        if found is None:
            if len(self._sockets) >= MAX_SOCKETS:
                raise InputError(
                    f"more than {MAX_SOCKETS} source ports: each needs a socket; use the xdp engine"
                )
            found = self._namespace.socket(family, socket.SOCK_DGRAM)
            self._stack.callback(found.close)
            try:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
                if self._plan.zero_checksum and family == socket.AF_INET:
                    found.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
                found.bind(("", port))
            except OSError as error:
                raise KernelError("bind UDP socket", f"port {port}", error.errno or 0) from error
            self._sockets[family, port] = found
        return found

    def _fill(self, slot: int, index: int) -> socket.socket:
        """Writes datagram number `index` into a slot; gives the socket that sends it."""
        plan, datagram = self._plan, self._datagrams[index % len(self._datagrams)]
        flow = index % plan.flow_count
        sport, dport, destination = datagram.sport, datagram.dport, datagram.destination
        for vary in plan.vary:
            value = vary.first + flow % vary.values
            if vary.field == "udp.sport":
                sport = value
            elif vary.field == "udp.dport":
                dport = value
            elif (vary.field == "ip6.dst") == (datagram.family == socket.AF_INET6):
                destination = value
        payload = datagram.payload
        if plan.stamp:
            stamp = pack(plan.magic, flow, plan.first + index, time.monotonic_ns(), datagram.digest)
            payload = stamp + payload[STAMP_BYTES:]
        at = slot * self._room
        ctypes.memmove(ctypes.addressof(self._payloads) + at, payload, len(payload))
        self._vectors[slot].length = len(payload)
        name = _sockaddr(datagram.family, destination, dport)
        ctypes.memmove(ctypes.addressof(self._names) + slot * 28, name, len(name))
        self._messages[slot].header.name_length = len(name)
        self._bytes += len(self._forge.blanks[index % len(self._datagrams)].frame)
        return self._socket(datagram.family, sport)

    def run(
        self,
        progress: Callable[[int], None] | None,
        stop: Callable[[], bool] | None,
        gone: Callable[[], bool],
    ) -> TrafficReport:
        plan, ended, interrupted = self._plan, "", False
        began = time.monotonic_ns()
        try:
            ended = self._loop(began, progress, stop)
        except KeyboardInterrupt:
            interrupted = True
        except KernelError:
            if not gone():
                raise
            ended = GONE
        return TrafficReport(
            asked=plan.limit,
            sent=self._sent,
            bytes=self._bytes,
            duration_ns=time.monotonic_ns() - began,
            rate_asked_pps=plan.rate_pps,
            interrupted=interrupted,
            rate_asked_bps=plan.rate_bps,
            engine="socket",
            ended=ended,
            burst=plan.burst,
        )

    def _loop(
        self, began: int, progress: Callable[[int], None] | None, stop: Callable[[], bool] | None
    ) -> str:
        plan = self._plan
        limit = plan.limit if plan.limit is not None else 1 << 62
        ends_at = began + int(plan.duration_s * 1e9) if plan.duration_s is not None else 1 << 62
        tell_at = began + TELL_NS
        while self._sent < limit:
            now = time.monotonic_ns()
            due = self._due_ns()
            if max(now, began + due) >= ends_at:
                return "duration"
            if now >= tell_at:
                tell_at = now + TELL_NS
                if progress:
                    progress(self._sent)
                if stop and stop():
                    return "stopped"
            if due and began + due > now:
                # In steps, so that a slow rate does not keep `stop` waiting.
                wait_until(min(began + due, now + TELL_NS // 2))
                continue
            self._send(min(limit - self._sent, self._ready(began, now)))
        return ""

    def _due_ns(self) -> int:
        plan = self._plan
        if plan.rate_pps is not None:
            return int(self._sent // plan.burst * plan.burst * 1e9 / plan.rate_pps)
        return int(self._bytes * 8e9 / plan.rate_bps) if plan.rate_bps is not None else 0

    def _ready(self, began: int, now: int) -> int:
        """How many may go now: all that are due, or the rest of a burst."""
        plan = self._plan
        if plan.rate_pps is not None:
            due = int((now - began) * plan.rate_pps / 1e9) + 1 - self._sent
            return max(1, min(AT_ONCE, max(due, plan.burst - self._sent % plan.burst)))
        return 1 if plan.rate_bps is not None else AT_ONCE

    def _send(self, count: int) -> None:
        """Sends up to `count` datagrams that go out of one socket."""
        first, filled, before, out = self._sent, 0, self._bytes, None
        sizes = []
        while filled < count:
            counted = self._bytes
            one = self._fill(filled, first + filled)
            if out is not None and one is not out:
                self._bytes = counted
                break
            out = one
            filled += 1
            sizes.append(self._bytes - counted)
        if out is None:
            return
        done = _libc.sendmmsg(out.fileno(), self._messages, filled, 0)
        if done < 0:
            self._bytes = before
            number = ctypes.get_errno()
            if number == errno.EINTR:
                return
            hint = f"after {self._sent} frames"
            raise KernelError("send datagram", self._interface, number, hint)
        self._bytes = before + sum(sizes[:done])
        self._sent += done


def _sockaddr(family: int, address: int, port: int) -> bytes:
    if family == socket.AF_INET6:
        packed = ipaddress.IPv6Address(address).packed
        return struct.pack("=H", family) + struct.pack("!HI", port, 0) + packed + bytes(4)
    return struct.pack("=H", family) + struct.pack("!HI", port, address) + bytes(8)
