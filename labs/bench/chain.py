# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench-chain`: millions of stamped frames through a forwarder between two links, each verified.

First the highest rate without loss is searched for (RFC 2544, short trials). At half of it ten million frames
must all come out, once, in order and undamaged.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from labs.harness.arguments import Parser, whole
from labs.harness.chain import chain_datagram, chain_forwarder
from labs.harness.cli import guarded
from labs.harness.cli_send import Progress
from labs.harness.loss_free import LossFree
from labs.harness.pipeline import Pipeline, PipelineSpec
from labs.harness.requirements import why_not
from labs.harness.topology import CHAIN
from labs.harness.traffic import TrafficPlan
from labs.harness.traffic.xdp_engine import realtime
from labs.harness.trial import Trial, run_trial, search_loss_free
from xdp.pyxdp.errors import InputError

SILENCE_S = 5.0
# Rings for a tenth of a second and more: on a shared machine the forwarder stands still now and then. They
# hide some twentieth of what a trial of the search offers.
RINGS: dict[str, Any] = {
    "frames": 131_072,
    "rx_size": 32_768,
    "tx_size": 32_768,
    "fill_size": 65_536,
    "completion_size": 32_768,
}

EPILOG = """\
exit code: 0 done, 1 a frame is unaccounted for, or (with --check) one did not come
through, 2 it could not run, 130 Ctrl-C
"""


def add_common(parser: Parser) -> None:
    """The options that all runs over `chain` have."""
    parser.add_argument(
        "--urgent",
        action="store_true",
        help="sender and forwarder go before all else on their CPUs: for a busy machine",
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout, all else to stderr")


def main(argv: list[str] | None = None) -> int:
    """Prints each trial and what came of the run; see the epilogue for the exit code."""
    parser = Parser("make bench-chain", str(__doc__), EPILOG)
    add = parser.add_argument
    add("--packets", type=whole(1, 2**32 - 1), default=10_000_000, metavar="N", help="default 10000000")
    add("--rate", type=whole(1, 10**8), metavar="PPS", help="default: half of the rate without loss")
    add("--check", action="store_true", help="exit code 1 if a frame did not come through")
    add_common(parser)
    options = parser.parse_args(argv)
    out = sys.stderr if options.json else sys.stdout
    with standing(urgent=options.urgent) as (pipeline, cpu):
        found = searched(pipeline, cpu, out, urgent=options.urgent) if options.rate is None else None
        rate = found.rate_pps / 2 if found is not None else options.rate
        plan = TrafficPlan(chain_datagram(), count=options.packets, rate_pps=rate, stamp=True)
        trial, conserved = long_run(pipeline, plan, cpu, urgent=options.urgent)
    print(as_text(trial, conserved), file=out)
    if options.json:
        print(json.dumps(as_json(found, trial, conserved), indent=2))
    if not trial.ledger.balanced or not conserved:
        return 1
    return int(options.check and not trial.perfect)


@contextlib.contextmanager
def standing(batch: int = 64, *, urgent: bool = False) -> Iterator[tuple[Pipeline, int]]:
    """The pipeline, its forwarder on the last CPU, and the first CPU for the sender.

    Args:
        batch: packets that the forwarder moves at once.
        urgent: the forwarder goes before all ordinary threads of its CPU.

    Raises:
        InputError: this machine cannot run labs.
        KernelError: it may not be urgent (EPERM: CAP_SYS_NICE is missing).
    """
    if why_not():
        raise InputError(why_not())
    cpus = sorted(os.sched_getaffinity(0))
    forwarder = chain_forwarder(cpus=(cpus[-1],), interval=0, batch=batch, **RINGS)
    with Pipeline.build(PipelineSpec(topology=CHAIN, forwarder=forwarder)) as pipeline:
        assert pipeline.forwarder is not None
        if urgent:
            for task in Path(f"/proc/{pipeline.forwarder.pid}/task").iterdir():
                realtime(int(task.name))
        yield pipeline, cpus[0]


def searched(pipeline: Pipeline, cpu: int, out: TextIO, *, urgent: bool) -> LossFree:
    """The rate without loss, each trial printed.

    Raises:
        InputError: something was lost at every rate.
    """

    def tell(line: str) -> None:
        print(line, file=out, flush=True)

    tell(f"rate without loss, 60 B, sender on CPU {cpu}:")
    found = search_loss_free(pipeline, chain_datagram(), cpu=cpu, urgent=urgent, tell=tell)
    if not found.rate_pps:
        raise InputError("something was lost at every rate that was tried: is the machine busy?")
    more = ", as fast as the sender goes" if found.sender_at_end else ""
    tell(f"  = {found.rate_pps:,.0f} pps{more}")
    return found


class Tenths:
    """A line for each tenth that was sent, where there is no terminal."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._told = 0

    def __call__(self, sent: int) -> None:
        """Tells how many were sent so far, if it is another tenth."""
        tenth = sent * 10 // self._frames
        if tenth > self._told:
            self._told = tenth
            print(f"  sent {sent:,}", file=sys.stderr, flush=True)


def long_run(pipeline: Pipeline, plan: TrafficPlan, cpu: int, *, urgent: bool) -> tuple[Trial, bool]:
    """Sends the plan, with progress, and ends the forwarder: were its frames conserved?"""
    bar = Progress(plan.limit) if sys.stderr.isatty() else None
    progress = bar or Tenths(plan.frames)
    print(
        f"{plan.frames:,} frames at {plan.rate_pps:,.0f} pps: {plan.frames / (plan.rate_pps or 1):,.0f} s",
        file=sys.stderr,
        flush=True,
    )
    trial = run_trial(pipeline, plan, cpu=cpu, urgent=urgent, progress=progress, silence_s=SILENCE_S)
    if bar:
        bar.clear()
    assert pipeline.forwarder is not None
    return trial, bool(pipeline.forwarder.stop()["frames"]["conserved"])


def as_text(trial: Trial, conserved: bool) -> str:
    """The outcome in lines."""
    sent, total = trial.sent, trial.found.total
    lines = [
        f"sent      {sent.sent:,} frames at {sent.rate_pps:,.0f} pps, {sent.rate_asked_pps or 0:,.0f} asked",
        f"received  {total.received:,}: " + ("once, in order, undamaged" if trial.perfect else "not as sent"),
        f"          {total.duplicates:,} twice, {total.corrupt:,} damaged, {total.reordered:,} late",
        f"lost      {trial.where_lost() or 'nothing'}",
        f"ledger    unaccounted {trial.ledger.unaccounted}, "
        f"the forwarder's frames {'are conserved' if conserved else 'ARE NOT CONSERVED'}",
    ]
    if not trial.ledger.balanced:
        lines.append(repr(trial.ledger.balanced))
    return "\n".join(lines)


def as_json(found: LossFree | None, trial: Trial, conserved: bool) -> dict[str, Any]:
    """The same for programs."""
    return {
        "loss_free_pps": found.rate_pps if found else None,
        "trials": [vars(one) for one in found.trials] if found else [],
        "sent": trial.sent.to_dict(),
        "received": trial.found.total.received,
        "perfect": trial.perfect,
        "ledger": trial.ledger.to_dict(),
        "conserved": conserved,
    }


if __name__ == "__main__":
    sys.exit(guarded(main))
