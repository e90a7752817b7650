# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The sink: an XDP program on the last device of the path that checks every stamped frame in the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labs.harness.histogram import Latency
from labs.harness.netns import NetNs
from labs.harness.patience import patient
from labs.harness.sink_report import Event, SinkReport, StreamReport
from labs.harness.sink_spec import SinkSpec
from labs.harness.sink_sum import summed_up
from labs.harness.traffic.layout import EVENTS, Action, EventKind, SinkState, Stream
from labs.harness.traffic.layout import Event as EventRecord
from labs.harness.traffic.stamp import MAX_FLOWS
from xdp.attachment import Mode
from xdp.maps import map_memory
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError

__all__ = ["Sink", "SinkReport", "SinkSpec"]

Self = TypeVar("Self", bound="Sink")  # typing.Self begins with Python 3.11

UNKNOWN_EXTENT = 2**64 - 1


class Sink:
    """A sink on a device; a context manager.

    Args:
        namespace: where the device is.
        interface: the last device of the path.
        spec: what to look for.
        queues: the device's receive queues.
        mode: how the program is attached.

    Raises:
        InputError: no such device.
        KernelError: refused; EBUSY if another XDP program is there.
    """

    def __init__(
        self,
        namespace: NetNs,
        interface: str,
        spec: SinkSpec | None = None,
        *,
        queues: int = 1,
        mode: Mode = "auto",
    ) -> None:
        self.spec = spec = spec or SinkSpec()
        self.namespace, self.interface = namespace, interface
        self._streams = spec.flow_streams if spec.per_flow else queues
        self._undo = contextlib.ExitStack()
        words = -(-spec.room // 64)
        with contextlib.ExitStack() as undo:
            self._program = undo.enter_context(
                Program.load(
                    ProgramSpec(
                        "tester_sink",
                        rodata={
                            "action": Action[spec.action.upper()],
                            "magic": spec.magic,
                            "flow_first": spec.first_flow,
                            "flow_count": spec.flows or MAX_FLOWS,
                            "sequence_count": min(spec.room, 2**32 - 1),
                            "per_flow": int(spec.per_flow),
                            "shared": int(queues > 1),
                        },
                        map_entries={
                            "streams": self._streams,
                            "seen": words,
                            "damaged": words,
                        },
                    )
                )
            )
            self._ifindex = namespace.interface_index(interface)
            with namespace.entered():
                self.attachment = self._program.attach(interface, mode)
            self._undo = undo.pop_all()

    @property
    def is_there(self) -> bool:
        """Does the device still exist?"""
        try:
            return self.namespace.interface_index(self.interface) == self._ifindex
        except InputError:
            return False

    @property
    def arrived(self) -> int:
        """Stamped frames so far, whatever became of them: for progress."""
        with self._memory("streams") as memory:
            size = ctypes.sizeof(Stream)
            total = 0
            for index in range(self._streams):
                stream = Stream.from_buffer_copy(memory, index * size)
                total += stream.received + stream.duplicates + stream.corrupt
            return total

    def wait(self, frames: int, timeout_s: float = 2.0, stop: Callable[[], bool] | None = None) -> int:
        """Waits until this many stamped frames came, or until nothing came for a while; gives how many did.

        Args:
            frames: how many to wait for.
            timeout_s: how long to wait since the last one.
            stop: asked from time to time; true ends it.
        """
        timeout_s = patient(timeout_s)
        seen, deadline = self.arrived, time.monotonic() + timeout_s
        while seen < frames and time.monotonic() < deadline and not (stop and stop()):
            time.sleep(0.002)
            now = self.arrived
            if now != seen:
                seen, deadline = now, time.monotonic() + timeout_s
        return seen

    def drain(self, frames: int, timeout_s: float = 2.0) -> SinkReport:
        """Waits as `wait` does, and reports."""
        self.wait(frames, timeout_s)
        return self.report()

    def report(self) -> SinkReport:
        """What was found so far."""
        events, event_count, foreign = self._read_events()
        return summed_up(
            self.spec,
            self._bits("seen"),
            self._bits("damaged"),
            self._read_streams(),
            events,
            event_count,
            foreign,
        )

    def close(self) -> None:
        """Detaches and unloads. Idempotent."""
        self._undo.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _memory(self, name: str) -> Iterator[Any]:
        with contextlib.closing(map_memory(self._program.map_fd(name))) as memory:
            yield memory

    def _bits(self, name: str) -> NDArray[np.bool_]:
        with self._memory(name) as memory:
            raw = np.frombuffer(bytes(memory), dtype=np.uint8)
        return np.unpackbits(raw, bitorder="little", count=self.spec.room).view(np.bool_)

    def _read_streams(self) -> dict[int, StreamReport]:
        size, found = ctypes.sizeof(Stream), {}
        with self._memory("streams") as memory:
            for index in range(self._streams):
                stream = Stream.from_buffer_copy(memory, index * size)
                if not stream.first_ns and not (index == 0 and not self.spec.per_flow):
                    continue
                found[index] = _stream(stream)
        return found

    def _read_events(self) -> tuple[tuple[Event, ...], int, int]:
        with self._memory("tester_s.bss") as memory:
            state = SinkState.from_buffer_copy(memory)
        size, found = ctypes.sizeof(EventRecord), []
        with self._memory("events") as memory:
            for index in range(min(state.events, EVENTS)):
                record = EventRecord.from_buffer_copy(memory, index * size)
                kind = EventKind(record.kind)
                late = kind == EventKind.REORDERED and record.extent != UNKNOWN_EXTENT
                found.append(
                    Event(
                        kind.name.lower(),
                        record.sequence,
                        record.flow,
                        record.queue,
                        record.length,
                        record.time_ns,
                        record.extent if late else None,
                    )
                )
        return tuple(found), state.events, state.foreign


def _stream(stream: Stream) -> StreamReport:
    known = stream.reordered - stream.extent_unknown
    return StreamReport(
        received=stream.received,
        bytes=stream.bytes,
        duplicates=stream.duplicates,
        corrupt=stream.corrupt,
        wrong_flow=stream.wrong_flow,
        reordered=stream.reordered,
        extent_max=stream.extent_max,
        extent_mean=stream.extent_sum / known if known else 0.0,
        extent_unknown=stream.extent_unknown,
        beyond=stream.beyond,
        first_ns=stream.first_ns,
        last_ns=stream.last_ns,
        latency=Latency.of(
            list(stream.latencies), stream.latency_min_ns, stream.latency_max_ns, stream.latency_sum_ns
        ),
    )
