# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One queue's UMEM, sockets and C loop, opened and closed together."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdp.pyxdp import xsk
from xdp.pyxdp.errors import InputError, KernelError

from . import _batch, netdev
from .socket import Granted, XskSocket
from .spec import ForwarderSpec, ip_bytes, mac_bytes
from .umem import Umem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    BatchFunction = Callable[[NDArray[np.void], NDArray[np.uint8]], NDArray[np.uint8] | None]

REBIND_SECONDS = 0.5  # a queue whose socket was just closed is free only after an RCU grace period
REBIND_PAUSE = 0.005
DRAIN_MS = 200
AUDIT_MS = 100
AUDIT_RUNNING_MS = 1000  # a sleeping loop notices within 100


class BatchLoop:
    """Receives, decides and sends on one queue, all in C; or asks a Python function once a batch.

    Args:
        spec: what to do.
        queue: which of the spec's queues this is, by its place.
        counters: memory for this queue's counters, see `forwarder.stats.Counters.block`.
        function: for the action "python": `function(packets, frames) -> verdicts`. `packets` is a structured
            array (fields addr, len, options) of this batch's descriptors, `frames` the whole UMEM as bytes of
            shape (frames, frame_size): a packet starts at `frames[addr // frame_size, addr % frame_size]`.
            Both are views: what is written there is sent, and `addr` and `len` may change within the
            frame. `verdicts` has one number a packet: 0 drop, 1 back, 2 out of the other interface, 3 not
            matched; None drops all. Keep no view beyond the call.
        verdict: for the action "verdict": what `forwarder.verdict.resolve` takes; None for the spec's.
        context: a writable buffer that the verdict function gets, this queue's alone; None for the spec's.
        stop_fd: an eventfd that ends the loop when it becomes readable.

    Raises:
        InputError: no such interface or queue.
        KernelError: the kernel refused UMEM or socket.
    """

    def __init__(
        self,
        spec: ForwarderSpec,
        queue: int,
        counters: memoryview,
        *,
        function: BatchFunction | None = None,
        verdict: object = None,
        context: Buffer | None = None,
        stop_fd: int = -1,
    ) -> None:
        self.spec = spec
        self.queue = spec.queues[queue]
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            self.umem = Umem(spec.frames, spec.frame_size, hugepages=spec.hugepages)
            on_error.callback(self.umem.close)
            self.sockets = self._bind(on_error)
            options = _action_options(spec)
            if function is not None:
                options |= _decide_options(function, self.umem, spec.batch)
            ports = tuple(socket.port(receive=i == 0) for i, socket in enumerate(self.sockets))
            self._loop = _batch.Loop(
                self.umem,
                spec.frame_size,
                ports,
                counters,
                batch=spec.batch,
                stop_fd=stop_fd,
                no_fill=spec.no_fill,
                no_receive=spec.pause_receive,
                check_owners=spec.check_owners,
                **options,
            )
            on_error.callback(self._loop.close)
            if spec.action == "verdict":
                from .verdict import prepare  # rarely needed, and dear at start

                self._prepared = prepare(spec, self.queue, verdict, context)
                self._loop.use_verdict(self._prepared.address, self._prepared.context)
            self._loop.run(0)  # the kernel has frames before the first packet can come
            self._undo.push(on_error.pop_all())

    def _bind(self, undo: contextlib.ExitStack) -> list[XskSocket]:
        """Registers the UMEM and binds its sockets; waits a little where a queue is just being freed."""
        deadline = time.monotonic() + REBIND_SECONDS
        while True:
            with contextlib.ExitStack() as attempt:
                try:
                    sockets = self._bind_once(attempt)
                except KernelError as error:
                    if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                        raise
                else:
                    undo.push(attempt.pop_all())
                    return sockets
            time.sleep(REBIND_PAUSE)

    def _bind_once(self, undo: contextlib.ExitStack) -> list[XskSocket]:
        spec = self.spec
        # A UMEM is registered anew for each attempt: libxdp keeps a half-made first socket in it.
        registered = xsk.XskUmem(
            self.umem.address,
            len(self.umem),
            frame_size=spec.frame_size,
            headroom=spec.headroom,
            fill_size=spec.fill_size,
            completion_size=spec.completion_size,
        )
        undo.callback(registered.close)
        flags = {"auto": 0, "copy": xsk.XDP_COPY, "zero-copy": xsk.XDP_ZEROCOPY}[spec.binding]
        if spec.need_wakeup:
            flags |= xsk.XDP_USE_NEED_WAKEUP
        sockets: list[XskSocket] = []
        for interface in (spec.interface, spec.out):
            if not interface:
                continue
            socket = XskSocket(
                registered,
                interface,
                self.queue,
                rx_size=spec.rx_size,
                tx_size=spec.tx_size,
                bind_flags=flags,
                shared=bool(sockets),
            )
            undo.callback(socket.close)
            sockets.append(socket)
        return sockets

    @property
    def granted(self) -> list[Granted]:
        """What the kernel granted: the receiving socket, then the other one if there is one."""
        return [socket.granted for socket in self.sockets]

    def enter(self, xskmap_fd: int) -> None:
        """Puts the receiving socket into an XSKMAP."""
        self.sockets[0].enter(xskmap_fd)

    def run(self, max_ms: int) -> str:
        """Runs for about `max_ms`; returns "time", "stopped" or "interrupted" (by a signal).

        Raises:
            Exception: whatever the Python function raised; its batch was dropped.
        """
        return self._loop.run(max_ms)

    def stop(self) -> None:
        """Makes `run` return; from any thread. A sleeping loop also needs its `stop_fd` written."""
        self._loop.stop()

    def audit(self, max_ms: int = AUDIT_RUNNING_MS) -> _batch.Audit:
        """Where every frame is, at any time: from any thread, while the loop runs and packets come.

        Raises:
            TimeoutError: the loop did not come to it within `max_ms` milliseconds.
        """
        return self._loop.audit(max_ms)

    def settle(self) -> dict[str, Any]:
        """Sends what is queued, within a bound, and says where every frame is; see `_batch.Audit`."""
        outstanding = self._loop.drain(DRAIN_MS)
        return {
            "queue": self.queue,
            **self._loop.audit(AUDIT_MS),
            "undrained": outstanding,
            "violation": self._loop.violation,
        }

    def statistics(self) -> list[dict[str, Any]]:
        """XDP_STATISTICS of each socket, with interface and queue."""
        return [
            {"interface": socket.granted.interface, "queue": self.queue, **socket.statistics()}
            for socket in self.sockets
        ]

    def close(self) -> None:
        """Closes loop, sockets and UMEM; may be called again."""
        self._undo.close()

    def __enter__(self) -> BatchLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _action_options(spec: ForwarderSpec) -> dict[str, Any]:
    if spec.action in ("python", "verdict"):
        return {}
    options: dict[str, Any] = {"action": spec.action}
    if spec.action == "forward":
        options["source_mac"] = mac_bytes(spec.set_src_mac, "--set-src-mac")
        options["destination_mac"] = mac_bytes(spec.set_dst_mac, "--set-dst-mac")
    if spec.action == "respond":
        ipv4, ipv6 = ip_bytes(spec.respond_ip)
        if not spec.respond_ip:
            ipv4 = netdev.ipv4(spec.interface) or b""
            ipv6 = b"".join(netdev.ipv6(spec.interface))
            if not ipv4 and not ipv6:
                raise InputError(
                    f"{spec.interface} has no address to respond for: give one with --respond-ip"
                )
        options["mac"] = mac_bytes(spec.respond_mac, "--respond-mac") or netdev.mac(spec.interface)
        options["ipv4"], options["ipv6"] = ipv4, ipv6
    return options


def _decide_options(function: BatchFunction, umem: Umem, batch: int) -> dict[str, Any]:
    """Views for the Python function, made once; NumPy is imported only here."""
    import numpy as np

    # The kernel's addr is unsigned, but NumPy makes floats of unsigned plus signed, which index nothing.
    packets = np.zeros(batch, dtype=[("addr", "<i8"), ("len", "<u4"), ("options", "<u4")])
    verdicts = np.zeros(batch, dtype=np.uint8)
    frames = np.frombuffer(umem, dtype=np.uint8).reshape(umem.frames, umem.frame_size)

    def decide(n: int) -> None:
        answer = function(packets[:n], frames)
        if answer is None:
            verdicts[:n] = _batch.DROP
            return
        if len(answer) != n:
            raise ValueError(f"the Python function gave {len(answer)} verdicts for {n} packets")
        verdicts[:n] = answer

    return {"decide": decide, "descriptors": packets, "verdicts": verdicts}
