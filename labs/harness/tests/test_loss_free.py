# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The search finds the highest rate without loss, in few trials, whatever the device under test can take."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from labs.harness.loss_free import REACHED, Outcome, loss_free_rate

HIGHEST = 1_500_000.0


def device(takes: float, sender: float = 10 * HIGHEST) -> Callable[[float], Outcome]:
    """A device that loses what is beyond a rate, behind a sender that has an end."""

    def offer(rate: float) -> Outcome:
        offered = min(rate, sender)
        return Outcome(rate, offered, max(0, round(offered - takes)))

    return offer


@given(st.floats(HIGHEST / 100, HIGHEST))
def test_it_comes_within_the_resolution_of_what_the_device_takes(takes: float) -> None:
    found = loss_free_rate(device(takes), highest_pps=HIGHEST)
    assert found.rate_pps <= takes + 1
    assert found.rate_pps >= min(takes * 0.94, takes - 0.05**2 * HIGHEST) - 1
    assert not found.sender_at_end
    assert len(found.trials) <= 2 * 12


@given(st.floats(HIGHEST / 100, HIGHEST * 0.4))
def test_a_sender_that_can_no_more_is_told_from_a_device_that_loses(sender: float) -> None:
    found = loss_free_rate(device(HIGHEST, sender), highest_pps=HIGHEST)
    assert found.sender_at_end
    assert found.rate_pps == sender
    assert len(found.trials) <= 2 * 12


def test_something_lost_at_every_rate_is_no_rate() -> None:
    found = loss_free_rate(lambda rate: Outcome(rate, rate, 1), highest_pps=HIGHEST)
    assert found.rate_pps == 0
    assert len(found.trials) <= 24


@given(st.floats(HIGHEST / 10, HIGHEST), st.sets(st.integers(0, 23)))
def test_a_single_hiccup_a_rate_does_not_count(takes: float, hiccups: set[int]) -> None:
    """Every second trial at one rate stands, whatever happened to the first."""
    sound, asked = device(takes), []

    def offer(rate: float) -> Outcome:
        first = rate not in asked
        asked.append(rate)
        return Outcome(rate, rate, 7) if first and len(asked) in hiccups else sound(rate)

    found = loss_free_rate(offer, highest_pps=HIGHEST, most_trials=100)
    assert takes * 0.94 - 1 <= found.rate_pps <= takes + 1


@given(st.floats(1, HIGHEST), st.integers(1, 10))
def test_the_number_of_trials_is_bounded(takes: float, most: int) -> None:
    found = loss_free_rate(device(takes), highest_pps=HIGHEST, most_trials=most)
    assert len(found.trials) <= most
    assert all(one.clean == (one.lost == 0) for one in found.trials)


def test_a_trial_is_clean_only_at_the_asked_rate() -> None:
    assert Outcome(100, 100 * REACHED, 0).clean
    assert not Outcome(100, 100 * REACHED - 1, 0).clean
    assert not Outcome(100, 100, 1).clean
