# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All queues of a forwarder in this process: a thread each, what was granted, live statistics, the report."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdp.pyxdp.errors import InputError, KernelError

from . import scheduling, snapshot
from .binding import bind
from .busy_poll import NapiDeferral
from .loop import BatchLoop
from .spec import ForwarderSpec
from .stats import Counters
from .xskmaps import open_xskmaps

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .host import HostTap
    from .loop import BatchFunction
    from .pcapng import PcapngSink

RUN_MS = 1000  # a thread looks up this often even if the eventfd fails to wake it
ENDING = {signal.SIGINT, signal.SIGTERM}


@dataclass(frozen=True)
class Descriptors:
    """File descriptors that belong to one run; None for those not given.

    Attributes:
        xskmap: an XSKMAP to enter.
        ready: gets one JSON line when packets can come, or says why not.
        report: gets the final JSON line.
        counters: a memfd to keep the live counters in.
        out_xskmap: an XSKMAP for the sockets on the other interface, with both_ways.
        also_xskmaps: those of the further interfaces, in their order.
    """

    xskmap: int | None = None
    ready: int | None = None
    report: int | None = None
    counters: int | None = None
    out_xskmap: int | None = None
    also_xskmaps: tuple[int, ...] = ()

    def check(self) -> None:
        """Sees that the pipes can be written, before anything is built.

        Raises:
            InputError: one cannot.
        """
        for option, fd in (("--ready-fd", self.ready), ("--report-fd", self.report)):
            if fd is None:
                continue
            try:
                writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            except (OSError, OverflowError, ValueError):
                writable = False
            if not writable:
                raise InputError(f"{option} {fd}: no descriptor open for writing was inherited under it")


class Forwarder:
    """All queues of one spec in this process, a thread each; the calling thread waits for signals.

    Args:
        spec: what to do; what it says of the process as such (user, priority, memory) is left to `run`.
        descriptors: where to enter and to report to.
        function: the Python function of the action "python".
        verdict: for the action "verdict": what `forwarder.verdict.resolve` takes; None for the spec's.
        context: gives each queue's context, a writable buffer, by the queue's number; None for the spec's.

    Raises:
        InputError: something given cannot be used.
        KernelError: the kernel refused.
    """

    def __init__(
        self,
        spec: ForwarderSpec,
        descriptors: Descriptors,
        function: BatchFunction | None = None,
        *,
        verdict: object = None,
        context: Callable[[int], Buffer] | None = None,
    ) -> None:
        self.spec = spec
        self.descriptors = descriptors
        self.process: dict[str, Any] = {}
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._started_ns = time.monotonic_ns()
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            maps = open_xskmaps(spec, descriptors, on_error)
            n = len(spec.queues)
            places = [(part, queue) for part in spec.each_interface() for queue in range(n)]
            self.counters = Counters(len(places), descriptors.counters)
            on_error.callback(self.counters.close)
            self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC) if hasattr(os, "eventfd") else -1
            on_error.callback(self._close_stop_fd)
            shared = bind(spec, spec.queues, on_error) if spec.shared_umem else []
            taps = [
                fd
                for part in spec.each_interface()
                for fd in (on_error.enter_context(_tap(part)).fds if spec.host_tap else [None] * n)
            ]
            self._pcapng = on_error.enter_context(_pcapng(spec)) if spec.pcapng else None
            self.loops: list[BatchLoop] = []
            for place, (part, queue) in enumerate(places):
                block = on_error.enter_context(self.counters.block(place))
                loop = BatchLoop(
                    part,
                    queue,
                    block,
                    function=function,
                    host_fd=taps[place],
                    capture=self._pcapng.captures[place] if self._pcapng else None,
                    verdict=verdict,
                    context=context(spec.queues[queue]) if context else None,
                    stop_fd=self._stop_fd,
                    binding=shared[place] if shared else None,
                )
                self.loops.append(on_error.enter_context(loop))
            if spec.busy_poll and spec.defer_irqs:
                interfaces = (spec.interface, *spec.also, *((spec.out,) if spec.both_ways else ()))
                on_error.enter_context(NapiDeferral(interfaces, spec.defer_irqs, spec.flush_timeout))
            for loop in self.loops:
                for side, out in ((loop.spec.interface, False), (loop.spec.out, True)):
                    if side in maps:
                        loop.enter(maps[side], out=out)
            self._undo.push(on_error.pop_all())

    def _close_stop_fd(self) -> None:
        if self._stop_fd >= 0:
            os.close(self._stop_fd)

    def start(self) -> None:
        """Starts a thread a queue.

        Raises:
            KernelError: the kernel gives no more threads.
        """
        self._started_ns = time.monotonic_ns()
        if self._pcapng is not None:
            self._pcapng.start()
        for place, loop in enumerate(self.loops):
            cpu = self.spec.cpus[place] if self.spec.cpus else None
            thread = threading.Thread(target=self._work, args=(loop, cpu), name=f"queue-{loop.queue}")
            try:
                thread.start()
            except RuntimeError:  # CPython keeps the errno to itself; pthread_create(3) gives EAGAIN
                self.stop()
                raise KernelError("start a thread", thread.name, errno.EAGAIN, "see ulimit -u, -l") from None
            self._threads.append(thread)

    def priority(self) -> str:
        """What the kernel says of the first queue's thread, as `--priority` takes it."""
        return scheduling.of_thread(self._threads[0].native_id or 0)

    def _work(self, loop: BatchLoop, cpu: int | None) -> None:
        try:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            while loop.run(RUN_MS) != "stopped":
                pass
        except BaseException as error:  # noqa: BLE001 (handed to the main thread, which re-raises it)
            self._failures.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    def ready(self) -> dict[str, Any]:
        """The ready line."""
        return {
            "ready": True,
            "pid": os.getpid(),
            "in_xskmap": bool(self.spec.xskmap) or self.descriptors.xskmap is not None,
            "sockets": self._granted(),
            "bind_retries": sum(loop.bind_retries for loop in self.loops),
            "process": self.process,
        }

    def _granted(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(granted) for loop in self.loops for granted in loop.granted]

    def snapshot(self) -> dict[str, Any]:
        """What it has counted, and what stands in its rings; from any thread, until `close`."""
        return snapshot.take(self.spec, self.loops, self.counters, self._started_ns)

    def wait(self, each_interval: Callable[[], None]) -> None:
        """Returns at SIGINT or SIGTERM (which must be blocked), or when the duration is over.

        Args:
            each_interval: called when one is over.
        """
        now = time.monotonic()
        end = now + self.spec.duration if self.spec.duration else float("inf")
        due = now + self.spec.interval if self.spec.interval else float("inf")
        while now < end:
            pause = min(end, due) - now
            # CPython answers with a siginfo of no signal when SIGCONT comes after the time-out (Ctrl-Z, fg).
            found = signal.sigtimedwait(ENDING, min(max(pause, 0), 3600))
            if found and found.si_signo in ENDING:
                return
            now = time.monotonic()
            if now >= due:
                due += self.spec.interval
                each_interval()

    def stop(self) -> dict[str, Any]:
        """Stops all threads, sends what is queued, finds every frame; returns the report.

        Raises:
            Exception: what ended a thread.
        """
        for loop in self.loops:
            loop.stop()
        if self._stop_fd >= 0:
            os.eventfd_write(self._stop_fd, 1)
        for thread in self._threads:
            thread.join()
        duration_ns = time.monotonic_ns() - self._started_ns
        if self._failures:
            raise self._failures[0]
        frames = [loop.settle() for loop in self.loops]
        return {
            "counters": self.counters.total(),
            "per_queue": [
                {
                    "interface": loop.spec.interface,
                    "queue": loop.queue,
                    "counters": self.counters.queue(place),
                    "frames": frames[place],
                }
                for place, loop in enumerate(self.loops)
            ],
            "xdp_statistics": [entry for loop in self.loops for entry in loop.statistics()],
            "frames": _sum_frames(frames),
            "granted": self._granted(),
            "process": self.process,
            "pcapng": self._pcapng.finish() if self._pcapng else None,
            "duration_ns": duration_ns,
            "config": dataclasses.asdict(self.spec),
        }

    def close(self) -> None:
        """Closes everything; may be called again."""
        self._undo.close()


def _tap(spec: ForwarderSpec) -> HostTap:
    from .host import HostTap  # rarely needed

    return HostTap(spec.host_tap, spec.interface, len(spec.queues))


def _pcapng(spec: ForwarderSpec) -> PcapngSink:
    from .pcapng import PcapngSink  # as above

    return PcapngSink(spec)


def _sum_frames(queues: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [key for key, value in queues[0].items() if isinstance(value, int) and key != "queue"]
    total: dict[str, Any] = {key: sum(queue[key] for queue in queues) for key in numbers}
    for key in ("stable", "conserved"):
        total[key] = all(queue[key] for queue in queues)
    # A violation of ownership is a frame in two places at one time, even if the end looks sound.
    total["violation"] = next((queue["violation"] for queue in queues if queue["violation"]), None)
    total["conserved"] = total["conserved"] and total["violation"] is None
    return total
