# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab sink`: what of the stamped frames came, and how."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time

from labs.harness.arguments import Parser, whole
from labs.harness.existing_ns import ExistingNs
from labs.harness.histogram import PERCENTILES
from labs.harness.sink import Sink, SinkSpec
from labs.harness.sink_report import SinkReport
from labs.harness.traffic.stamp import DEFAULT_MAGIC
from labs.harness.traffic.units import number, short, time_text

POLL_S = 0.05
LOOK_S = 0.25  # how often it is seen whether the device still exists
EXIT_PARTIAL = 2
SHOWN = 8  # holes and events that are printed; JSON has more

EPILOG = """\
The sink is an XDP program on the last device of a path. It looks at frames that carry the stamp of
"xdplab send", all others go to the stack. It ends when the expected frames came, when none came for --timeout
seconds after the first, after --duration, with its device, or on Ctrl-C; what was found is printed always.

exit code: 0 all that was expected came, once, in order, undamaged; 1 not so;
2 it could not run, or its device disappeared

examples:
  xdplab sink -i sink0 --expect 1M
  xdplab sink -i sink0 --expect 1M --flows 1000 --per-flow --json
  xdplab sink -i sink0 --action return --duration 60        sends them back where they came from
"""


def parser() -> Parser:
    """The options of `xdplab sink`."""
    made = Parser(
        "xdplab sink",
        "Checks each stamped frame that arrives: lost, doubled, late, damaged, and how long it took.",
        EPILOG,
    )
    made.add_argument("-i", "--interface", required=True, help="the last device of the path")
    made.add_argument("--netns", help="its network namespace: a name, a path, or the id of a process in it")
    made.add_argument("--expect", metavar="N", help="frames that will come, such as 10000, 10k, 1.5M")
    made.add_argument(
        "--first", type=whole(0, 2**32 - 1), default=0, metavar="N", help="first sequence number"
    )
    made.add_argument("--flows", type=whole(1, 65536), help="flows that belong here; others are named")
    made.add_argument("--first-flow", type=whole(0, 65535), default=0, help="the first of them")
    made.add_argument("--per-flow", action="store_true", help="judge each flow by itself; needs --flows")
    made.add_argument(
        "--action", choices=("drop", "pass", "return"), default="drop", help="with checked frames"
    )
    made.add_argument("--mode", choices=("auto", "native", "generic"), default="auto", help="of the program")
    made.add_argument("--queues", type=whole(1, 4096), default=1, help="the device's receive queues")
    made.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="of silence; default 2")
    made.add_argument("--duration", type=float, metavar="SECONDS", help="end after this time")
    made.add_argument("--magic", type=whole(0, 65535), default=DEFAULT_MAGIC, help=argparse.SUPPRESS)
    made.add_argument("--json", action="store_true", help="print the report as JSON")
    return made


def main(argv: list[str]) -> int:
    """Receives; see the epilogue for the exit code."""
    options = parser().parse_args(argv)
    spec = SinkSpec(
        expected=number(options.expect) if options.expect else None,
        first=options.first,
        flows=options.flows,
        first_flow=options.first_flow,
        per_flow=options.per_flow,
        action=options.action,
        magic=options.magic,
    )
    with (
        ExistingNs(options.netns) as namespace,
        Sink(namespace, options.interface, spec, queues=options.queues, mode=options.mode) as sink,
    ):
        print(
            f"xdplab: sink on {options.interface}, {sink.attachment.mode} mode; Ctrl-C ends it",
            file=sys.stderr,
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            receive(sink, options.timeout, options.duration)
        report, gone = sink.report(), not sink.is_there
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(describe(report))
    if gone:
        came = f"{report.total.received:,} frames"
        print(f"xdplab: {options.interface} disappeared after {came}", file=sys.stderr)
        return EXIT_PARTIAL
    return 0 if report.perfect else 1


def receive(sink: Sink, timeout_s: float, duration_s: float | None) -> None:
    """Comes back when all came, at a long silence, when the time is over, or when the device is gone."""
    began = last = looked_at = told_at = time.monotonic()
    seen = told = 0
    while True:
        now_seen, now = sink.arrived, time.monotonic()
        if now_seen != seen:
            seen, last = now_seen, now
        if sink.spec.expected is not None and seen >= sink.spec.expected:
            return
        if (seen and now - last > timeout_s) or (duration_s is not None and now - began > duration_s):
            return
        if now - looked_at > LOOK_S:
            looked_at = now
            if not sink.is_there:
                return
        if sys.stderr.isatty() and now - told_at >= 0.5:
            speed = (seen - told) / (now - told_at)
            print(f"\r\x1b[K{seen:,} frames, {short(speed)}pps", end="", file=sys.stderr, flush=True)
            told, told_at = seen, now
        time.sleep(POLL_S)


def describe(report: SinkReport) -> str:
    """The report in lines."""
    total, latency = report.total, report.total.latency
    of = f" of {report.expected:,}" if report.expected is not None else ""
    lines = [
        f"received {total.received:,}{of} frames, {short(total.rate_pps)}pps: "
        + ("all once, in order, undamaged" if report.perfect else "not as sent"),
        f"lost {report.lost_frames:,}{_holes(report.lost)}",
        f"duplicates {total.duplicates:,}  corrupt {total.corrupt:,}{_holes(report.damaged)}  "
        f"wrong flow {total.wrong_flow:,}",
        f"reordered {total.reordered:,}"
        + (
            f" (extent at most {total.extent_max:,}, mean {total.extent_mean:.1f})" if total.reordered else ""
        ),
    ]
    if latency.count:
        shown = "  ".join(f"p{p:g} {time_text(latency.percentile(p))}" for p in PERCENTILES)
        lines.append(f"latency min {time_text(latency.min_ns)}  {shown}  max {time_text(latency.max_ns)}")
    if total.beyond:
        lines.append(f"not checked for copies, as their numbers were too great: {total.beyond:,}")
    if report.foreign:
        lines.append(f"frames without a stamp, passed on: {report.foreign:,}")
    for event in report.events[:SHOWN]:
        extent = f", {event.extent} frames late" if event.extent is not None else ""
        lines.append(f"  {event.kind} {event.sequence} of flow {event.flow}, queue {event.queue}{extent}")
    if report.event_count > SHOWN:
        lines.append(f"  … and {report.event_count - SHOWN:,} more")
    if len(report.streams) > 1:
        for key, stream in list(report.streams.items())[:SHOWN]:
            p99 = time_text(stream.latency.percentile(99))
            lines.append(
                f"  stream {key}: received {stream.received:,}, reordered {stream.reordered:,}, p99 {p99}"
            )
    return "\n".join(lines)


def _holes(ranges: tuple[tuple[int, int], ...]) -> str:
    if not ranges:
        return ""
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges[:SHOWN])
    return f" ({shown}{', …' if len(ranges) > SHOWN else ''})"
