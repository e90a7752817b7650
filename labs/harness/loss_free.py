# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The highest rate without loss, by bisection as in RFC 2544 section 26.1, with short trials, and few.

Pure: the trials are the caller's. Loss is taken to grow with the rate; on a shared machine a trial may lose,
or its sender fall short, for another reason: then it is repeated once before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

REACHED = 0.99  # of the asked rate: less is a sender at its end
FAR = 0.9  # of the asked rate: so much less that no rate between needs to be tried


@dataclass(frozen=True)
class Outcome:
    """Of one trial.

    Attributes:
        asked_pps: the rate that was to be offered.
        offered_pps: the rate that the sender reached.
        lost: frames that did not come out as they went in.
    """

    asked_pps: float
    offered_pps: float
    lost: int

    @property
    def clean(self) -> bool:
        """The asked rate was offered, and nothing was lost."""
        return not self.lost and self.offered_pps >= REACHED * self.asked_pps


@dataclass(frozen=True)
class LossFree:
    """What the search found.

    Attributes:
        rate_pps: the highest rate offered at which nothing was lost; 0 if something was at each.
        trials: all of them, in order.
        sender_at_end: what bounds it is the sender, which goes no faster; the forwarder may take more.
    """

    rate_pps: float
    trials: tuple[Outcome, ...] = field(repr=False)
    sender_at_end: bool = False


def loss_free_rate(
    offer: Callable[[float], Outcome],
    *,
    highest_pps: float,
    resolution: float = 0.05,
    repeats: int = 1,
    most_trials: int = 24,
) -> LossFree:
    """Bisects between 0 and `highest_pps`.

    Args:
        offer: runs a trial at a rate.
        highest_pps: beyond which nothing is looked for.
        resolution: the search ends when the rate is known to this part of it, or is below that part of the
            highest and known to the same part of that.
        repeats: how often a trial that lost, or whose sender fell short, is repeated; the last one counts.
        most_trials: bound on all trials; what was found so far is the answer then.
    """
    trials: list[Outcome] = []
    low, high, best, sender_at_end = 0.0, highest_pps, 0.0, False
    rate = high / 2
    while len(trials) < most_trials and high - low > resolution * max(low, resolution * highest_pps):
        for _ in range(1 + repeats):
            outcome = offer(rate)
            trials.append(outcome)
            if outcome.clean or len(trials) >= most_trials:
                break
        if not outcome.lost:
            best = max(best, min(outcome.offered_pps, rate))
        if outcome.clean:
            low = rate
        elif not outcome.lost and outcome.offered_pps < FAR * rate:
            return LossFree(best, tuple(trials), sender_at_end=True)
        else:
            high, sender_at_end = rate, not outcome.lost
            low = max(low, min(best, high))
        rate = (low + high) / 2
    return LossFree(best, tuple(trials), sender_at_end)
