# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One queue's UMEM, sockets and C loop, opened and closed together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdp.pyxdp.errors import InputError

from . import _batch, netdev
from .addresses import ip_bytes, mac_bytes
from .binding import Binding, bind
from .socket import Granted
from .spec import ForwarderSpec
from .umem import Umem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    # Packets and frames, and where asked for the metadata.
    BatchFunction = Callable[..., NDArray[np.uint8] | None]

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
            matched, 4 to the host's stack; or'ed to it 0x40 to be captured, 0x80 to be mirrored (names of all
            these are in `forwarder.verdict`). None drops all. Keep no view beyond the call. With
            `spec.metadata` a third argument is an array of `forwarder.metadata.RX_METADATA`, one a packet.
        host_fd: of the TAP that takes what goes to the host's stack; None for none.
        capture: where packets for a pcapng file are put (see `forwarder.pcapng`); None for none.
        verdict: for the action "verdict": what `forwarder.verdict.resolve` takes; None for the spec's.
        context: a writable buffer that the verdict function gets, this queue's alone; None for the spec's.
        stop_fd: an eventfd that ends the loop when it becomes readable.
        binding: memory and sockets from `forwarder.binding.bind`, whose caller closes them; None for its own.

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
        host_fd: int | None = None,
        capture: _batch.Capture | None = None,
        verdict: object = None,
        context: Buffer | None = None,
        stop_fd: int = -1,
        binding: Binding | None = None,
    ) -> None:
        self.spec = spec
        self.queue = spec.queues[queue]
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            bound = binding or bind(spec, (self.queue,), on_error)[0]
            self.umem, self.sockets, self.bind_retries = bound.umem, bound.sockets, bound.retries
            options = _action_options(spec)
            if function is not None:
                options |= _decide_options(function, self.umem, spec)
            self._loop = _batch.Loop(
                self.umem,
                spec.frame_size,
                tuple(
                    socket.port(receive=i == 0 or (spec.both_ways and i == 1))
                    for i, socket in enumerate(bound.sockets)
                ),
                counters,
                batch=spec.batch,
                stop_fd=stop_fd,
                no_fill=spec.no_fill,
                no_receive=spec.pause_receive,
                check_owners=spec.check_owners,
                first=bound.first,
                frames=bound.frames,
                unaligned=spec.unaligned,
                multi_buffer=spec.multi_buffer,
                **options,
            )
            on_error.callback(self._loop.close)
            if capture is not None:
                self._loop.use_capture(capture)
            if spec.mirror:
                self._loop.use_mirror(spec.mirror_marked)
            if host_fd is not None:
                self._loop.use_host(host_fd)
            if spec.action == "verdict":
                from .verdict import prepare  # rarely needed, and dear at start

                self._prepared = prepare(spec, self.queue, verdict, context)
                self._loop.use_verdict(self._prepared.address, self._prepared.context)
            self._loop.run(0)  # the kernel has frames before the first packet can come
            self._undo.push(on_error.pop_all())

    @property
    def granted(self) -> list[Granted]:
        """What the kernel granted: the receiving socket, then the others in the order out, mirror."""
        return [socket.granted for socket in self.sockets]

    def enter(self, xskmap_fd: int, *, out: bool = False) -> None:
        """Puts the receiving socket into an XSKMAP; with `out` the one on the other interface."""
        self.sockets[int(out)].enter(xskmap_fd)

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


def _decide_options(function: BatchFunction, umem: Umem, spec: ForwarderSpec) -> dict[str, Any]:
    """Views for the Python function, made once; NumPy is imported only here."""
    import numpy as np

    from .metadata import reader

    batch = spec.batch
    # The kernel's addr is unsigned, but NumPy makes floats of unsigned plus signed, which index nothing.
    packets = np.zeros(batch, dtype=[("addr", "<i8"), ("len", "<u4"), ("options", "<u4")])
    verdicts = np.zeros(batch, dtype=np.uint8)
    whole = np.frombuffer(umem, dtype=np.uint8, count=umem.frames * umem.frame_size)
    frames = whole.reshape(umem.frames, umem.frame_size)

    metadata = reader(frames, batch) if spec.metadata else None

    def decide(n: int) -> None:
        batch_now = packets[:n]
        more = (metadata(batch_now),) if metadata else ()
        answer = function(batch_now, frames, *more)
        if answer is None:
            verdicts[:n] = _batch.DROP
            return
        if len(answer) != n:
            raise ValueError(f"the Python function gave {len(answer)} verdicts for {n} packets")
        verdicts[:n] = answer

    return {"decide": decide, "descriptors": packets, "verdicts": verdicts}
