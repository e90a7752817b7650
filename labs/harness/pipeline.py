# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pipeline under test: a topology, an XDP program on the DUT's device, a forwarder behind its XSKMAP."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.topology import PAIR, Topology, TopologySpec, new_run_id
from xdp.attachment import Attachment, Mode
from xdp.program import Program, ProgramSpec

if TYPE_CHECKING:
    from xdp.xskmap import XskMap

XSKMAP = "xsks_map"


@dataclass(frozen=True)
class PipelineSpec:
    """What to build.

    Attributes:
        topology: the network.
        program: the XDP program for the DUT.
        mode: how it is attached: "native", "generic" or "auto".
        forwarder: what takes the packets; None for none. Its interface is the device that gets the program.
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


class Pipeline:
    """A pipeline that is ready; a context manager that removes all of it.

    Attributes:
        spec: what was asked for.
        topology, program, attachment: what stands.
        forwarder: the forwarder's process, None where none was asked for.
        timings_ns: nanoseconds that each part took, by name.
    """

    topology: Topology
    program: Program
    attachment: Attachment
    forwarder: ForwarderProcess | None

    def __init__(self, spec: PipelineSpec, *, run: str | None = None, keep: bool = False) -> None:
        self.spec = spec
        self.run = run or new_run_id()
        self.timings_ns: dict[str, int] = {}
        self.forwarder = None
        self._keep = keep
        with contextlib.ExitStack() as undo:
            with self._timed("topology"):
                self.topology = undo.enter_context(Topology.build(spec.topology, run=self.run, keep=keep))
            with self._timed("program"):
                self.program = undo.enter_context(Program.load(spec.program))
                with self.dut.entered():
                    self.attachment = self.program.attach(spec.device, spec.mode)
            if spec.forwarder is not None:
                with self._timed("forwarder"):
                    self.forwarder = undo.enter_context(self.start_forwarder(spec.forwarder))
            self._undo = undo.pop_all()

    @property
    def dut(self) -> NetNs:
        """The namespace of the device that carries the program."""
        return self.topology.namespace_of(self.spec.device)

    def start_forwarder(self, spec: ForwarderSpec) -> ForwarderProcess:
        """Starts a forwarder beside or after the pipeline's own; whoever calls closes it."""
        # A kept forwarder holds the link too: the program stays on the device for as long as it runs.
        link = [self.attachment.link_fd] if self._keep and self.attachment.link_fd is not None else []
        return ForwarderProcess(
            spec,
            namespace=self.dut,
            run=self.run,
            xskmap_fd=self.program.map_fd(XSKMAP),
            pass_fds=link,
            keep=self._keep,
        )

    def xskmap(self) -> XskMap:
        """What the XSKMAP holds now, read from the kernel."""
        from xdp.xskmap import read_xskmap

        return read_xskmap(fd=self.program.map_fd(XSKMAP))

    def close(self) -> None:
        """Ends the forwarder, detaches, removes the network; last in, first out. Idempotent."""
        with self._timed("close"):
            self._undo.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _timed(self, name: str) -> Any:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self.timings_ns[name] = time.perf_counter_ns() - start
