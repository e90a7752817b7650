# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A trial over a standing pipeline: stamped frames at a rate, verified where they come out, accounted for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labs.harness.account import account
from labs.harness.arrived import Arrived
from labs.harness.ledger import Ledger, LedgerError
from labs.harness.loss_free import REACHED, LossFree, Outcome, loss_free_rate
from labs.harness.pipeline import Pipeline
from labs.harness.sink import Sink
from labs.harness.sink_report import SinkReport
from labs.harness.sink_spec import SinkSpec
from labs.harness.traffic import TrafficPlan, TrafficReport, send
from labs.harness.traffic.units import short

HIGHEST_PPS = 1_500_000.0  # about three times what a copy-mode forwarder takes on veth
TRIAL_S = 2.0
SILENCE_S = 0.5  # no frame for so long: none is under way any more


@dataclass(frozen=True)
class Trial:
    """What was sent, what the sink found, and where the rest is."""

    sent: TrafficReport
    found: SinkReport
    ledger: Ledger

    @property
    def lost(self) -> int:
        """Frames that did not come out as they went in: lost, damaged, of another flow, or twice."""
        return sum(self.ledger.losses.values())

    @property
    def perfect(self) -> bool:
        """All frames came once, in order, undamaged, and every sum holds."""
        return self.found.perfect and bool(self.ledger.balanced) and not self.lost and self.sent.complete

    def where_lost(self) -> str:
        """The losses by name, with the reasons that the kernel gave; "" for none."""
        reasons = {one.fates[0]: ", ".join(one.reasons) for one in self.ledger.causes if len(one.fates) == 1}
        named = (
            f"{count:,} at {path}" + (f" ({reasons[path]})" if reasons.get(path) else "")
            for path, count in self.ledger.losses.items()
        )
        return ", ".join(named)


def run_trial(
    pipeline: Pipeline,
    plan: TrafficPlan,
    *,
    cpu: int | None = None,
    urgent: bool = False,
    progress: Callable[[int], None] | None = None,
    silence_s: float = SILENCE_S,
) -> Trial:
    """Sends a stamped plan into a pipeline whose last device has no XDP program.

    Args:
        pipeline: what is under test.
        plan: what goes in, made and sent in the kernel.
        cpu: where the sender works.
        urgent: it goes before all ordinary threads there, see `send`.
        progress: called with the count sent so far.
        silence_s: how long nothing must have come before the rest is lost.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the sender.
        InputError, KernelError: as from `send` and `Sink`.
    """
    route, topology = pipeline.route, pipeline.topology
    (queues,) = (
        link.queues for link in topology.spec.links if route.arrival in [end.name for end in link.ends]
    )
    before = pipeline.count()
    last = topology.namespace_of(route.arrival)
    with Sink(last, route.arrival, SinkSpec.of(plan), queues=queues) as sink:
        first = topology.namespace_of(route.sender)
        sent = send(plan, first, route.sender, "xdp", cpu=cpu, urgent=urgent, progress=progress)
        if sent.interrupted:
            raise KeyboardInterrupt
        sink.wait(sent.sent, silence_s)
        counted = pipeline.counted_since(before)
        found = sink.report()
    return Trial(sent, found, account(sent.sent, counted, Arrived.of(found), route))


def search_loss_free(
    pipeline: Pipeline,
    packet: Any,
    *,
    highest_pps: float = HIGHEST_PPS,
    trial_s: float = TRIAL_S,
    cpu: int | None = None,
    urgent: bool = False,
    tell: Callable[[str], None] | None = None,
) -> LossFree:
    """Searches for the highest rate at which a pipeline loses nothing; see `loss_free_rate`.

    Args:
        pipeline: what is under test.
        packet: what goes in.
        highest_pps: beyond which nothing is looked for.
        trial_s: seconds of each trial: many times what its rings hold.
        cpu: where the sender works.
        urgent: it goes before all ordinary threads there, see `send`.
        tell: called with a line for each trial.
    """

    def offer(rate: float) -> Outcome:
        count = max(1, round(rate * trial_s))
        plan = TrafficPlan(packet, count=count, rate_pps=rate, stamp=True)
        trial = run_trial(pipeline, plan, cpu=cpu, urgent=urgent)
        if not trial.ledger.balanced:
            raise LedgerError(repr(trial.ledger.balanced))
        achieved = trial.sent.rate_pps
        if tell:
            asked = f", {short(rate)}pps asked" if achieved < REACHED * rate else ""
            lost = f"lost {trial.where_lost()}" if trial.lost else "nothing lost"
            tell(f"  {short(achieved):>9}pps  {lost}{asked}")
        return Outcome(rate, achieved, trial.lost)

    return loss_free_rate(offer, highest_pps=highest_pps)
