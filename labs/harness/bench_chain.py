# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench-chain`: millions of stamped frames through a forwarder between two links, each verified."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from forwarder.spec import ForwarderSpec
from labs.harness.packets import datagram
from labs.harness.pipeline import Pipeline, PipelineSpec
from labs.harness.requirements import why_not
from labs.harness.sink import Sink
from labs.harness.sink_spec import SinkSpec
from labs.harness.topology import CHAIN
from labs.harness.traffic import TrafficPlan, send
from xdp.pyxdp.errors import InputError

SILENCE_S = 5.0


def main(argv: list[str] | None = None) -> int:
    """Prints what came of it; exit code 0 if every frame came once, in order, undamaged."""
    parser = argparse.ArgumentParser(prog="python -m labs.harness.bench_chain", description=__doc__)
    parser.add_argument("--packets", type=float, default=10e6, help="frames to send (default 10 million)")
    parser.add_argument("--rate", type=float, default=150e3, help="frames a second (default 150000)")
    arguments = parser.parse_args(argv)
    if why_not():
        raise InputError(why_not())
    ingress, sink = CHAIN.end("dut1"), CHAIN.end("sink0")
    forwarder = ForwarderSpec(
        "dut0",
        action="forward",
        out="dut1",
        set_src_mac=ingress.mac,
        set_dst_mac=sink.mac,
        cpus=(max(os.sched_getaffinity(0)),),
        interval=0,
        # Room for a tenth of a second: on a shared machine the forwarder stands still now and then.
        frames=65536,
        rx_size=16384,
        tx_size=16384,
        fill_size=32768,
        completion_size=16384,
    )
    packet = datagram(CHAIN.end("gen0"), replace(CHAIN.end("dut0"), addresses=sink.addresses))
    plan = TrafficPlan(packet, count=int(arguments.packets), rate_pps=arguments.rate, stamp=True)
    with (
        Pipeline.build(PipelineSpec(topology=CHAIN, forwarder=forwarder)) as pipeline,
        Sink(pipeline.topology["sink"], "sink0", SinkSpec.of(plan)) as verifier,
    ):
        sent = send(plan, pipeline.topology["gen"], "gen0", "xdp")
        verifier.wait(sent.sent, SILENCE_S)
        report = verifier.report()
        assert pipeline.forwarder is not None
        end = pipeline.forwarder.stop()
    total, counters = report.total, end["counters"]
    print(f"sent {sent.sent:,} frames at {sent.rate_pps:,.0f} pps, {arguments.rate:,.0f} asked")
    print(f"forwarder took {counters['rx_packets']:,}, sent {counters['tx_packets']:,}")
    print(f"frames conserved: {end['frames']['conserved']}")
    print(
        f"received {total.received:,}, lost {report.lost_frames:,}, all once and undamaged: {report.perfect}"
    )
    return 0 if report.perfect and end["frames"]["conserved"] else 1


if __name__ == "__main__":
    sys.exit(main())
