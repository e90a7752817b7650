# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench-flood`: three times what a forwarder can take, and where the rest is lost, to the frame.

First the highest rate without loss is searched for (RFC 2544, short trials). Then three times as many are
offered: nothing may be unaccounted for, and what is lost must be lost where the forwarder is too slow.
"""

from __future__ import annotations

import json
import sys

from labs.bench.chain import add_common, as_json, as_text, long_run, searched, standing
from labs.harness.arguments import Parser, whole
from labs.harness.chain import chain_datagram
from labs.harness.cli import guarded
from labs.harness.traffic import TrafficPlan

TIMES = 3
RATE_ERROR = 0.01
# Where frames are lost that come faster than they are taken.
TOO_FAST = {"sender/device_refused", "redirect/rx_ring_full", "redirect/no_frame", "tx/refused_by_device"}

EPILOG = """\
exit code: 0 done, 1 a frame is unaccounted for, or (with --check) was lost elsewhere than
where the forwarder is too slow, or the sender did not reach its rate,
2 it could not run, 130 Ctrl-C
"""


def main(argv: list[str] | None = None) -> int:
    """Prints each trial and what came of the flood; see the epilogue for the exit code."""
    parser = Parser("make bench-flood", str(__doc__), EPILOG)
    add = parser.add_argument
    add("--seconds", type=whole(1, 3600), default=5, metavar="N", help="of the flood (default 5)")
    add(
        "--batch",
        type=whole(1, 256),
        default=1,
        metavar="N",
        help="of the forwarder (default 1: so slow that one sender reaches three times its rate)",
    )
    add("--check", action="store_true", help="exit code 1 also if the flood was not as it should be")
    add_common(parser)
    options = parser.parse_args(argv)
    out = sys.stderr if options.json else sys.stdout
    with standing(options.batch, urgent=options.urgent) as (pipeline, cpu):
        found = searched(pipeline, cpu, out, urgent=options.urgent)
        rate = found.rate_pps * TIMES
        plan = TrafficPlan(
            chain_datagram(),
            count=round(rate * options.seconds),
            rate_pps=rate,
            stamp=True,
            time_every=64,  # no latency is told here, and without a clock for each frame the rate is reached
        )
        trial, conserved = long_run(pipeline, plan, cpu, urgent=options.urgent)
    reached = abs(trial.sent.rate_error or 0.0) <= RATE_ERROR
    print(as_text(trial, conserved), file=out)
    times = trial.sent.rate_pps / found.rate_pps
    short_of = "" if reached else ": as fast as this sender goes here, not what was asked"
    print(f"offered   {times:.2f} times the rate without loss{short_of}", file=out)
    elsewhere = set(trial.ledger.losses) - TOO_FAST
    if elsewhere:
        print(f"elsewhere {', '.join(sorted(elsewhere))}", file=out)
    if options.json:
        print(json.dumps({**as_json(found, trial, conserved), "times": times}, indent=2))
    if not trial.ledger.balanced or not conserved:
        return 1
    return int(options.check and not (reached and not elsewhere))


if __name__ == "__main__":
    sys.exit(guarded(main))
