# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pipeline under test: a topology, an XDP program on the DUT's device, a forwarder behind its XSKMAP."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forwarder.spec import ForwarderSpec
from labs.harness.account import MISSED
from labs.harness.account_counts import Route
from labs.harness.account_verdicts import UNSEEN, VERDICT
from labs.harness.counters import Counters, Delta, Snapshot
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.topology import PAIR, Topology, TopologySpec
from xdp.attachment import Attachment, Mode
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import kernel
from xdp.pyxdp.errors import InputError, KernelError
from xdp.watch import DROPS, Watch
from xdp.watch_verdicts import VerdictWatch
from xdp.xskmap import Reader

if TYPE_CHECKING:
    from xdp.xskmap_model import XskMap

XSKMAP = "xsks_map"
# The forwarder's loop counts these while nothing happens, too.
RESTLESS = (
    "syscalls",
    "iterations",
    "idle",
    "poll_calls",
    "poll_timeouts",
    "poll_wakeups",
    "fill_kicks",
    "busy_polls",
)
LEVELS = ("rx", "tx", "fill", "completion")
STATISTICS = ("rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs", "tx_invalid_descs")
KERNEL = MISSED.partition("_")[0]


@dataclass(frozen=True)
class PipelineSpec:
    """What to build.

    Attributes:
        topology: the network.
        program: the XDP program for the DUT.
        mode: how it is attached: "native", "generic" or "auto".
        forwarder: what takes the packets; None for none.
        device: the device that gets the program.
    """

    topology: TopologySpec = PAIR
    program: ProgramSpec = field(default_factory=ProgramSpec)
    mode: Mode = "native"
    forwarder: ForwarderSpec | None = field(default_factory=lambda: ForwarderSpec("dut0", action="echo"))
    device: str = "dut0"

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {
            "topology": self.topology.to_dict(),
            "program": self.program.to_dict(),
            "mode": self.mode,
            "device": self.device,
            "forwarder": dataclasses.asdict(self.forwarder) if self.forwarder else None,
        }


@dataclass
class Pipeline:
    """A pipeline that stands; `build` makes one, and a test's fixtures put theirs together.

    Attributes:
        spec: what was asked for.
        topology, program, attachment: its parts.
        forwarder: None where none was asked for, or another process stands in its place.
        unwatched: why what the kernel drops is not counted, known once `count` was called; "" if it is.
        unseen: why the program's verdicts are not counted at its exit, known then too; "" if they are.
        foreign: somebody else's forwarder is in the XSKMAP: its rings tell what it did.
        timings_ns: nanoseconds that each part took to build and all took to close, by name.
    """

    spec: PipelineSpec
    topology: Topology
    program: Program
    attachment: Attachment
    forwarder: ForwarderProcess | None
    timings_ns: dict[str, int] = field(default_factory=dict)
    foreign: bool = False
    unwatched: str = ""
    unseen: str = ""
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    @classmethod
    def build(cls, spec: PipelineSpec, *, run: str | None = None, keep: bool = False) -> Pipeline:
        """Builds all parts, or nothing; `close` removes them.

        Args:
            spec: what to build.
            run: id of the run.
            keep: namespaces, forwarder and attached program outlive `close` and this process.

        Raises:
            InputError, KernelError: as from the parts.
        """
        timings: dict[str, int] = {}
        with contextlib.ExitStack() as undo:
            with _timed(timings, "topology"):
                topology = undo.enter_context(Topology.build(spec.topology, run=run, keep=keep))
            with _timed(timings, "program"):
                program = undo.enter_context(Program.load(spec.program))
                if spec.forwarder is not None:
                    check_xskmap(program)
                attachment = attach(program, topology, spec.device, spec.mode)
            forwarder = None
            if spec.forwarder is not None:
                with _timed(timings, "forwarder"):
                    forwarder = undo.enter_context(
                        start_forwarder(
                            spec.forwarder, topology, program, spec.device, attachment if keep else None
                        )
                    )
            built = cls(spec, topology, program, attachment, forwarder, timings, _undo=undo)
            built._undo = undo.pop_all()
            return built

    @functools.cached_property
    def _reader(self) -> Reader:
        # Made at its first use: its tens of milliseconds are not part of "ready".
        return self._undo.enter_context(Reader(fd=self.program.map_fd(XSKMAP)))

    @functools.cached_property
    def drop_watch(self) -> Watch | None:
        """What the kernel drops in these namespaces, from the first `count` on; None if unwatched."""
        inodes = {role: namespace.inode for role, namespace in self.topology.namespaces.items()}
        try:
            return self._undo.enter_context(Watch(inodes, DROPS))
        except (InputError, KernelError) as error:
            self.unwatched = str(error)
            return None

    @functools.cached_property
    def verdict_watch(self) -> VerdictWatch | None:
        """What the program says, from the first `count` on; None where the kernel refuses fexit."""
        there, device = self.attachment, self.spec.device
        (queues,) = (
            link.queues for link in self.topology.spec.links if device in [end.name for end in link.ends]
        )
        try:
            with kernel.prog_by_id(there.prog_id) as fd:
                return self._undo.enter_context(VerdictWatch(fd, self.dut.inode, there.ifindex, queues))
        except (InputError, KernelError) as error:
            self.unseen = str(error)
            return None

    @property
    def route(self) -> Route:
        """The devices that frames go through; what is not forwarded is taken to come back."""
        peers: dict[str, str] = {}
        for link in self.topology.spec.links:
            a, b = (end.name for end in link.ends)
            peers |= {a: b, b: a}
        forwarder = self.spec.forwarder
        egress = forwarder.out if forwarder is not None and forwarder.out else self.spec.device
        native = self.attachment.mode == "native"
        return Route(peers[self.spec.device], self.spec.device, egress, peers[egress], native)

    def __post_init__(self) -> None:
        self._counters = self._undo.enter_context(Counters())
        for end in self.topology.spec.ends:
            self._counters.add_interface(self.topology[end.node], end.name)
        self._counters.add("program", self.program.counters)
        self._counters.add("xsk", self._count_sockets)
        self._counters.add(KERNEL, self._count_drops)
        self._counters.add(VERDICT, self._count_verdicts)
        if self.forwarder is not None:
            self._counters.add("forwarder", self.forwarder.counters)
        elif self.foreign:
            self._counters.add("forwarder", self._count_foreign)

    @property
    def dut(self) -> NetNs:
        """The namespace of the device that carries the program."""
        return self.topology.namespace_of(self.spec.device)

    def xskmap(self) -> XskMap:
        """What the XSKMAP holds now, read from the kernel."""
        return self._reader.read()

    def count(self) -> Snapshot:
        """All counters now.

        Links and drivers as `<interface>_<counter>`, the program's classes as `program_…`, the forwarder's as
        `forwarder_…`, and over all sockets in the XSKMAP `xsk_<statistic>` and `xsk_<ring>_level`. What the
        kernel drops from the first call on as `kernel_<role>_<interface>_<kind>_<reason>`, see `Watch`; the
        program's verdicts from then on as `verdict_<verdict>`, see `VerdictWatch`.
        """
        return self._counters.snapshot()

    def counted_since(self, before: Snapshot) -> Delta:
        """The differences, once nothing moves any more: frames under way have arrived.

        Raises:
            TimeoutError: something still moves; names it.
        """
        return self._counters.settle(ignore=_is_restless) - before

    def _count_sockets(self) -> dict[str, int]:
        sockets = self._reader.read(with_owners=False).sockets.values()
        counts = {}
        for name in STATISTICS:
            counts[name] = sum(getattr(one.statistics, name) or 0 for one in sockets)
        for ring in LEVELS:
            rings = [getattr(one, ring) for one in sockets]
            counts[f"{ring}_level"] = sum(one.level for one in rings if one is not None)
        return counts

    def _count_foreign(self) -> dict[str, int]:
        """What a forwarder in any language did, as the rings that it shares with the kernel tell.

        The indices run freely since the bind: taken off RX, put on TX, and come back as completed.
        """
        sockets = list(self._reader.read(with_owners=False).sockets.values())
        taken = sum(one.rx.consumer for one in sockets if one.rx)
        queued = sum(one.tx.producer for one in sockets if one.tx)
        completed = sum(one.completion.producer for one in sockets if one.completion)
        return {
            "rx_packets": taken,
            "tx_packets": queued,
            "tx_completed": completed,
            "dropped": max(taken - queued, 0),
        }

    def _count_drops(self) -> dict[str, int]:
        watch = self.drop_watch
        if watch is None:
            return {}
        counts = {"_".join(key): frames for key, frames in watch.counts().items()}
        return {**counts, MISSED.removeprefix(KERNEL + "_"): watch.missed}

    def _count_verdicts(self) -> dict[str, int]:
        watch = self.verdict_watch
        return {**watch.counts(), UNSEEN: watch.missed} if watch is not None else {}

    def close(self) -> None:
        """Ends the forwarder, detaches, removes the network; last in, first out. Idempotent."""
        with _timed(self.timings_ns, "close"):
            self._undo.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_xskmap(program: Program) -> None:
    """Sees that a program has what a forwarder enters.

    Raises:
        InputError: it has no map `xsks_map`, or one of another type.
    """
    info = kernel.map_info(program.map_fd(XSKMAP))
    if info.type != kernel.MapType.XSKMAP:
        kind = kernel.MapType(info.type).name
        raise InputError(
            f"{program.spec.object}: its map {XSKMAP!r} is of type {kind}; make it a BPF_MAP_TYPE_XSKMAP"
        )


def attach(program: Program, topology: Topology, device: str, mode: Mode) -> Attachment:
    """Attaches a program to a device of a topology; closing the program detaches it."""
    with topology.namespace_of(device).entered():
        return program.attach(device, mode)


def start_forwarder(
    spec: ForwarderSpec, topology: Topology, program: Program, device: str, kept: Attachment | None = None
) -> ForwarderProcess:
    """Starts a forwarder behind a program's XSKMAP, ready when this returns; the caller closes it.

    Args:
        spec: the forwarder.
        topology: where its devices are.
        program: whose XSKMAP it enters.
        device: the device that carries the program.
        kept: an attachment that the forwarder holds too: the program stays while it runs, after us too.
    """
    shared = [kept.link_fd] if kept is not None and kept.link_fd is not None else []
    return ForwarderProcess(
        spec,
        namespace=topology.namespace_of(device),
        run=topology.run,
        xskmap_fd=program.map_fd(XSKMAP),
        pass_fds=shared,
        keep=kept is not None,
    )


def _is_restless(name: str) -> bool:
    return name.startswith("forwarder_") and name.removeprefix("forwarder_") in RESTLESS


@contextlib.contextmanager
def _timed(timings: dict[str, int], name: str) -> Iterator[None]:
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        timings[name] = time.perf_counter_ns() - start
