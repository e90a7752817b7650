# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The xdp engine: frames made and sent by xdp/src/tester_send.bpf.c, millions a second on one core.

All of it is one call into the kernel (BPF_PROG_TEST_RUN with live frames), since a call costs some 24 ms to
tear down. It runs in a thread of its own, so that progress can be read and Ctrl-C be heard meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator

from labs.harness.ethtool import Ethtool
from labs.harness.netns import NetNs
from xdp.maps import map_memory
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError, KernelError
from xdp.pyxdp.run import LIVE_FRAMES, run

from .forge import Forge
from .interrupt import interrupt
from .layout import Done, Flow, SendState, Template
from .limits import GONE, check_mtu
from .plan import TrafficPlan, TrafficReport
from .sizes import MIN_BYTES

FULL_BATCH = 64  # as fast as it goes: a veth's ring takes 256
FULL_TIME_EVERY = 16  # as many as leave in one bulk (DEV_MAP_BULK_SIZE, kernel/bpf/devmap.c)
# Above these rates so many frames go together: waiting for each, and each batch, cost as much as some frames.
PACED_BURSTS = ((800_000, FULL_BATCH), (600_000, FULL_BATCH // 4))
MAX_BATCH = 256  # TEST_XDP_MAX_BATCH, net/bpf/test_run.c
MAX_REPEAT = 2**31 - 1
SPIN_NS = 100_000  # as in tester_send.bpf.c: the longest wait in one call of the program
POLL_S = 0.01
PROGRESS_S = 0.1
ENDINGS = {
    Done.TIME_OVER: "duration",
    Done.STOPPED: "stopped",
    Done.NO_DEVICE: GONE,
    Done.BROKEN: "a template could not be written",
}


def send_xdp(
    plan: TrafficPlan,
    namespace: NetNs,
    interface: str,
    *,
    cpu: int | None = None,
    urgent: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrafficReport:
    """Sends a plan; see `engines.send`. The peer of a veth needs an XDP program, or GRO, to take the frames.

    Raises:
        InputError: no such interface or CPU, a frame too long, or a plan that cannot be made.
        KernelError: the kernel has no live frames (Linux 5.18), or refused otherwise.
    """
    forge = Forge(plan)
    index = namespace.interface_index(interface)
    check_mtu(namespace, interface, forge.longest)
    if cpu is not None and cpu not in os.sched_getaffinity(0):
        raise InputError(f"CPU {cpu} is not ours to use; there are {sorted(os.sched_getaffinity(0))}")
    if plan.limit == 0:
        return _report(plan, SendState(done=Done.COUNT_REACHED), False, 0)
    with _Sender(forge, namespace, interface, index, cpu, urgent) as sender:
        return sender.run(progress, stop)


def realtime(thread: int = 0) -> None:
    """Puts a thread, by default the calling one, before all ordinary ones of its CPU (SCHED_FIFO).

    Raises:
        KernelError: not allowed.
    """
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        hint = "needs CAP_SYS_NICE; go without real-time scheduling"
        raise KernelError(
            "set real-time scheduling",
            f"thread {thread}" if thread else "this thread",
            error.errno or 0,
            hint,
        ) from error


def burst_size(plan: TrafficPlan) -> int:
    """Frames that go together when paced: at great rates more than the plan asks for."""
    for rate, frames in PACED_BURSTS:
        if plan.rate_pps is not None and plan.rate_pps > rate:
            return max(plan.burst, frames)
    return plan.burst


def batch_size(plan: TrafficPlan) -> int:
    """Frames that leave together, a power of 2: one where the rate lets each have its own time."""
    if plan.rate_pps is None and plan.rate_bps is None:
        return FULL_BATCH
    return min(MAX_BATCH, 1 << (burst_size(plan) - 1).bit_length())


class _Sender:
    def __init__(
        self,
        forge: Forge,
        namespace: NetNs,
        interface: str,
        index: int,
        cpu: int | None,
        urgent: bool,
    ) -> None:
        self._forge, self._plan = forge, forge.plan
        self._namespace, self._interface, self._cpu = namespace, interface, cpu
        self._urgent = urgent
        self._batch = batch_size(self._plan)
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self._program = undo.enter_context(Program.load(self._spec()))
            self._fill()
            self._memory = undo.enter_context(
                contextlib.closing(map_memory(self._program.map_fd("tester_s.bss")))
            )
            with namespace.entered():  # a device map looks its devices up where the caller is
                self._program.maps["device"][0] = index
            self._undo = undo.pop_all()

    @property
    def _state(self) -> SendState:
        """As it is now: a copy, since memory that anything points into cannot be unmapped."""
        return SendState.from_buffer_copy(self._memory)

    def _put(self, member: str, value: int) -> None:
        where = getattr(SendState, member)
        self._memory[where.offset : where.offset + where.size] = value.to_bytes(where.size, "little")

    def _spec(self) -> ProgramSpec:
        plan, lengths = self._plan, {len(blank.frame) for blank in self._forge.blanks}
        return ProgramSpec(
            "tester_send",
            rodata={
                "template_count": len(self._forge.blanks),
                "flow_count": plan.flow_count,
                "field_count": len(plan.vary),
                "frame_count": plan.limit or 0,
                "duration_ns": int((plan.duration_s or 0) * 1e9),
                "first_sequence": plan.first,
                "burst": burst_size(plan),
                "batch": self._batch,
                "clock_every": plan.time_every or FULL_TIME_EVERY,
                "magic": plan.magic,
                "paced": int(plan.rate_pps is not None or plan.rate_bps is not None),
                "all_small": int(lengths == {MIN_BYTES}),
                "one_length": int(len(lengths) == 1),
            },
            map_entries={"templates": len(self._forge.blanks), "flows": plan.flow_count},
        )

    def _fill(self) -> None:
        size = ctypes.sizeof(Template)
        with contextlib.closing(map_memory(self._program.map_fd("templates"))) as memory:
            for index in range(len(self._forge.blanks)):
                memory[index * size : (index + 1) * size] = bytes(self._forge.template(index))
        if self._plan.vary:
            size = ctypes.sizeof(Flow)
            with contextlib.closing(map_memory(self._program.map_fd("flows"))) as memory:
                for number in range(self._plan.flow_count):
                    memory[number * size : (number + 1) * size] = bytes(self._forge.flow(number))

    def run(self, progress: Callable[[int], None] | None, stop: Callable[[], bool] | None) -> TrafficReport:
        interrupted = False
        with _taken(self._namespace, self._interface) as taken:
            thread = threading.Thread(target=self._work, name="xdplab-send", daemon=True)
            thread.start()
            try:
                self._watch(thread, progress, stop)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                self._put("stop", 1)
                while not self._await_end(thread):
                    interrupted = True
            if self._failure:
                raise self._failure
            return _report(self._plan, self._state, interrupted, taken())

    def _watch(
        self,
        thread: threading.Thread,
        progress: Callable[[int], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        told = time.monotonic()
        # Not Thread.join: interrupted by Ctrl-C it takes the thread for ended (CPython issue 90882).
        while not self._ended.wait(POLL_S):
            if self._state.done:
                interrupt(thread)  # it would use up its calls otherwise
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                if progress:
                    progress(self._state.sent)
                if stop and stop():
                    self._put("stop", 1)

    def _await_end(self, thread: threading.Thread) -> bool:
        """False if another Ctrl-C came: the thread must end before its memory goes."""
        try:
            while not self._ended.wait(POLL_S / 10):
                interrupt(thread)
            thread.join()
        except KeyboardInterrupt:
            return False
        return True

    def _work(self) -> None:
        """Calls the kernel until the program says that it is done: once, unless frames came too slowly."""
        try:
            with self._namespace.entered():
                if self._cpu is not None:
                    os.sched_setaffinity(0, {self._cpu})  # of this thread only, as is the scheduling class
                if self._urgent:
                    realtime()
                while not (state := self._state).done and not state.stop:
                    self._call()
        except BaseException as error:  # noqa: BLE001 (it is raised in the thread that waits)
            self._failure = error
        finally:
            self._ended.set()

    def _call(self) -> None:
        # Frames come in as long as the longest template, so that they are only ever cut: growing one costs
        # a memset.
        blank = max(self._forge.blanks, key=lambda one: len(one.frame))
        self._put("calls", 0)  # where a batch begins is counted from here
        try:
            run(
                self._program.fd,
                blank.frame,
                repeat=self._repeat(),
                flags=LIVE_FRAMES,
                batch_size=self._batch,
            )
        except KernelError as error:
            if error.errno == errno.EINTR:
                return
            unknown = (errno.E2BIG, errno.EINVAL, errno.EPERM)  # the first of kernels that know no batch size
            hint = "live frames need Linux 5.18 and root" if error.errno in unknown else ""
            raise KernelError("send live frames", self._interface, error.errno or 0, hint) from error

    def _repeat(self) -> int:
        """Calls of the program that surely suffice; what is too many ends by a signal."""
        if self._plan.limit is None:
            return MAX_REPEAT
        left = self._plan.limit - int(self._state.sent)
        longest_gap = max(self._forge.gap_ns(len(blank.frame)) for blank in self._forge.blanks)
        if not longest_gap:
            return min(MAX_REPEAT, left)
        waits = 2 + int(longest_gap * burst_size(self._plan) / SPIN_NS)
        return min(MAX_REPEAT, left * waits * self._batch)

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()


def _report(plan: TrafficPlan, state: SendState, interrupted: bool, taken: int | None) -> TrafficReport:
    done = Done(state.done)
    return TrafficReport(
        asked=plan.limit,
        sent=state.sent,
        bytes=state.bytes,
        duration_ns=state.last_ns - state.first_ns,
        rate_asked_pps=plan.rate_pps,
        interrupted=interrupted,
        rate_asked_bps=plan.rate_bps,
        engine="xdp",
        ended="" if interrupted else ENDINGS.get(done, ""),
        refused=max(0, state.sent - taken) if taken is not None else None,
        late_ns=state.late_ns,
        given_up_ns=state.given_up_ns,
        burst=burst_size(plan),
    )


@contextlib.contextmanager
def _taken(namespace: NetNs, interface: str) -> Iterator[Callable[[], int | None]]:
    """Gives a function that tells how many redirected frames the driver took since the beginning.

    A device map's frames that the device cannot take at all (its peer has no NAPI) are in no counter, so
    those that were taken are counted, not those that were refused.
    """
    with Ethtool(namespace) as ethtool:

        def count() -> int | None:
            try:
                found = ethtool.statistics(interface)
            except (InputError, KernelError):  # the device is gone, or counts nothing
                return None
            taken = [value for name, value in found.items() if name.endswith("_xdp_xmit")]
            return sum(taken) if taken else None

        before = count()

        def taken() -> int | None:
            after = count()
            return after - before if after is not None and before is not None else None

        yield taken
