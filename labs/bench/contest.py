# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Forwarders measured beside each other: each has its turn in a network of its own, one after the other.

A generator in the kernel sends as fast as one core can, and what is counted is what comes out. All run before
ordinary threads (SCHED_FIFO), so that other load on the machine is not what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from forwarder.spec import ForwarderSpec
from labs.harness.ethtool import Ethtool
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.topology import CHAIN, PAIR, Topology
from xdp.program import Program, ProgramSpec

from .generator import Generator
from .window import measured
from .yardstick import Yardstick

# More than one core sends in warm-up and window. Where the forwarder is slow the generator is fast: many
# of its frames are refused early.
FLOOD_FRAMES, FLOOD_FRAMES_FORWARDED = 4_000_000, 10_000_000


class Running(Protocol):
    """A forwarder's process."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def counters(self) -> dict[str, int]:
        """Its counters now, by name; `rx_packets` is among them."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass(frozen=True)
class Contestant:
    """Who is measured.

    Attributes:
        name: in the table.
        spec: options beyond "dut0" and what the measure sets; None for the yardstick in C.
    """

    name: str
    spec: ForwarderSpec | None = None


@dataclass(frozen=True)
class Live:
    """One turn against the generator.

    Attributes:
        pps: packets a second that came out.
        pps_of_cpu: packets for each second that the forwarder's threads had a CPU.
        python_share: of the CPU time, what its main thread took, which is all that is not the C core.
        sent_pps: packets a second that the generator sent.
    """

    pps: float
    pps_of_cpu: float
    python_share: float
    sent_pps: float


@dataclass(frozen=True)
class Place:
    """Where and how contestants are measured.

    Attributes:
        yardstick: the compiled yardstick.
        generator_cpu, forwarder_cpu: where these run.
        forwards: out of dut1, to be counted at the sink; else received and dropped.
        busy_poll: both busy-poll.
    """

    yardstick: Path
    generator_cpu: int
    forwarder_cpu: int
    forwards: bool = False
    busy_poll: bool = False

    def start(self, who: Contestant, topology: Topology, xskmap_fd: int) -> Running:
        """Starts a contestant in the topology's DUT."""
        if who.spec is None:
            out = "dut1" if self.forwards else ""
            return Yardstick(
                self.yardstick,
                topology["dut"],
                self.forwarder_cpu,
                xskmap_fd,
                "dut0",
                out,
                busy_poll=self.busy_poll,
            )
        spec = replace(who.spec, cpus=(self.forwarder_cpu,), interval=0, busy_poll=self.busy_poll)
        return ForwarderProcess(spec, namespace=topology["dut"], run=topology.run, xskmap_fd=xskmap_fd)

    def live(self, who: Contestant) -> Live:
        """One turn against the generator.

        Raises:
            RuntimeError: the generator was through before the window's end.
        """
        spec = CHAIN if self.forwards else PAIR
        end = ("sink", "sink0") if self.forwards else ("dut", "dut0")
        with (
            Topology.build(spec) as topology,
            Program.load(ProgramSpec("redirect_queue")) as program,
            Program.load(ProgramSpec("xdp_drop")) as dropping,
            Ethtool(topology[end[0]]) as ethtool,
        ):
            with topology["dut"].entered():
                program.attach("dut0", "native")
            if self.forwards:
                with topology["sink"].entered():
                    dropping.attach("sink0", "native")
            running = self.start(who, topology, program.map_fd("xsks_map"))
            try:

                def came_out() -> int:
                    if self.forwards:
                        return ethtool.statistics("sink0")["rx_queue_0_xdp_drops"]
                    return running.counters()["rx_packets"]

                return self._window(running, topology, came_out)
            finally:
                running.close()

    def _window(self, running: Running, topology: Topology, came_out: Callable[[], int]) -> Live:
        frames = FLOOD_FRAMES_FORWARDED if self.forwards else FLOOD_FRAMES
        generator = Generator(topology, (self.generator_cpu,), frames)
        window = measured(running.pid, 1, came_out, generator)
        spent = window.cpu_ns
        total = max(sum(spent.values()), 1)
        main = spent.get(running.pid, 0)
        return Live(
            window.pps,
            window.packets / (((total - main) or total) / 1e9),
            main / total if len(spent) > 1 else 0.0,
            generator.pps,
        )
