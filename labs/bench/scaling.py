# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Do two queues on two cores take twice as much as one? Each core has a generator of its own.

One generator on one of two cores would be what is measured, not the forwarder. So each queue's thread
shares its core with a generator that sends to this queue, and goes before it: whenever packets are there the
thread takes them, then the generator makes more. Two cores are two such pairs: what they share, a lock or a
cache line, is what keeps them from twice the rate.
"""

from __future__ import annotations

from collections.abc import Sequence

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.topology import PAIR, Topology
from xdp.program import Program, ProgramSpec

from .generator import Generator
from .window import measured

FLOOD_FRAMES = 1_000_000  # a generator that yields to the forwarder sends some 0.9 million a second
RING = 16_384


def received_pps(cpus: Sequence[int]) -> float:
    """Packets a second that a forwarder with a queue on each of these CPUs receives and drops.

    Args:
        cpus: one or both of the first two; what XDP sends into a veth comes by the queue of its CPU's number.

    Raises:
        RuntimeError: a generator was through before the window's end.
    """
    spec = ForwarderSpec(
        "dut0",
        queues=tuple(cpus),
        cpus=tuple(cpus),
        interval=0,
        frames=2 * RING,
        rx_size=RING,
        fill_size=RING,
    )
    with (
        Topology.build(PAIR.with_links(queues=max(cpus) + 1)) as topology,
        Program.load(ProgramSpec("redirect_queue")) as program,
    ):
        with topology["dut"].entered():
            program.attach("dut0", "native")
        with ForwarderProcess(
            spec, namespace=topology["dut"], run=topology.run, xskmap_fd=program.map_fd("xsks_map")
        ) as running:
            generator = Generator(topology, cpus, FLOOD_FRAMES)
            return measured(running.pid, 2, lambda: running.counters()["rx_packets"], generator).pps
