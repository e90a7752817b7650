# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench`: how long a pipeline takes to stand and to go, and system calls a packet under load."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

from forwarder.spec import ForwarderSpec
from labs.harness.arguments import Parser, whole
from labs.harness.flood import flood
from labs.harness.packets import datagram
from labs.harness.pipeline import Pipeline, PipelineSpec, attach
from labs.harness.requirements import why_not
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError

PARTS = ("topology", "program", "forwarder")
DRAIN_S = 5.0


def main(argv: list[str] | None = None) -> int:
    """Prints a table or JSON."""
    parser = Parser(
        prog="xdplab bench",
        description="How long a pipeline takes to stand and to go,\nand system calls a packet under load.",
    )
    add = parser.add_argument
    add("--runs", type=whole(1, 10_000), default=20, metavar="N", help="pipelines to build (default 20)")
    add(
        "--packets",
        type=whole(1, 1_000_000_000),
        default=1_000_000,
        metavar="N",
        help="load for each action (default 1000000)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    if why_not():
        raise InputError(why_not())
    result = {
        "ready": bench_ready(arguments.runs),
        "load": [bench_load(action, arguments.packets) for action in ("drop", "echo")],
    }
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    return 0


def bench_ready(runs: int) -> dict[str, Any]:
    """Milliseconds until all parts are ready, and until all are gone; the first run does not count."""
    samples: dict[str, list[float]] = {}
    for number in range(runs + 1):
        start = time.perf_counter_ns()
        pipeline = Pipeline.build(PipelineSpec())
        ready = time.perf_counter_ns() - start
        pipeline.close()
        if number:  # the first one imports modules and fills the kernel's caches
            times = {**pipeline.timings_ns, "ready": ready}
            for part, value in times.items():
                samples.setdefault(part, []).append(value / 1e6)
    return {
        part: {"median_ms": statistics.median(values), "max_ms": max(values)}
        for part, values in samples.items()
    } | {"runs": runs}


def bench_load(action: str, packets: int) -> dict[str, Any]:
    """System calls a packet of a forwarder that always has something to do, at batch 64."""
    cpus = sorted(os.sched_getaffinity(0))
    forwarder = ForwarderSpec("dut0", action=action, batch=64, interval=0, cpus=(cpus[-1],))
    frame = bytes(datagram())
    with (
        Pipeline.build(replace(PipelineSpec(), forwarder=forwarder)) as pipeline,
        Program.load(ProgramSpec("xdp_drop")) as sink,
    ):
        assert pipeline.forwarder is not None
        # Replies end at the sender's device: its stack would spend the forwarder's core on refusing them.
        attach(sink, pipeline.topology, "gen0", "native")
        os.sched_setaffinity(0, {cpus[0]})
        try:
            sent = flood(pipeline.topology["gen"], "gen0", frame, packets)
        finally:
            os.sched_setaffinity(0, cpus)
        _until_quiet(pipeline)
        counters = pipeline.forwarder.stop()["counters"]
    received = counters["rx_packets"]
    return {
        "action": action,
        "batch": forwarder.batch,
        "offered_packets": sent.sent,
        "offered_mpps": sent.sent / sent.duration_ns * 1e3,
        "rx_packets": received,
        "rx_mpps": received / sent.duration_ns * 1e3,
        "tx_packets": counters["tx_packets"],
        "syscalls": counters["syscalls"],
        "syscalls_per_packet": counters["syscalls"] / received if received else None,
    }


def _until_quiet(pipeline: Pipeline) -> None:
    """Waits until the forwarder has taken what is in its RX ring."""
    assert pipeline.forwarder is not None
    deadline = time.monotonic() + DRAIN_S
    last = -1
    while time.monotonic() < deadline:
        now = pipeline.forwarder.counters()["rx_packets"]
        if now == last:
            return
        last = now
        time.sleep(0.02)


def as_text(result: dict[str, Any]) -> str:
    """The two tables."""
    lines = [f"ready and gone, {result['ready']['runs']} pipelines   median ms   max ms"]
    for part in (*PARTS, "ready", "close"):
        times = result["ready"][part]
        lines.append(f"  {part:32} {times['median_ms']:11.1f} {times['max_ms']:8.1f}")
    lines.append("under load at batch 64   offered Mpps   taken Mpps   system calls a packet")
    for load in result["load"]:
        lines.append(
            f"  {load['action']:22} {load['offered_mpps']:12.2f} {load['rx_mpps']:12.2f} "
            f"{load['syscalls_per_packet']:14.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
