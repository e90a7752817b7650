# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The yardstick compiles, and a missed goal is told from noise by how the yardstick differs from itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from forwarder import _batch
from forwarder.trial import as_batch, as_bytes, ask
from labs.bench import user_actions
from labs.bench.contest import Live
from labs.bench.forwarder import AGAIN, EVENTS, OURS, YARDSTICK, ratios_of
from labs.bench.yardstick import compile_yardstick

ALONE = replace(EVENTS[0], entries=EVENTS[0].entries[:1])


def test_yardstick_compiles_without_a_warning(tmp_path: Path) -> None:
    assert compile_yardstick(tmp_path).is_file()


def turns(*rates: float, python_share: float = 0.0) -> list[Live]:
    return [Live(rate, rate, python_share, 0.0) for rate in rates]


def test_ratio_is_the_median_of_the_rounds_and_noise_that_of_equals() -> None:
    of_all = {YARDSTICK: turns(100, 50, 80), OURS: turns(99, 60, 64), AGAIN: turns(102, 50, 80.8)}
    ratio, python = ratios_of(ALONE, of_all)
    assert (round(ratio.value, 6), round(ratio.noise, 6)) == (0.99, 0.02)
    assert ratio.reached  # not to be told from equal
    assert (python.value, python.reached) == (0.0, True)


def test_slower_than_noise_explains_misses_the_goal() -> None:
    of_all = {
        YARDSTICK: turns(100, 100, 100),
        OURS: turns(96, 96, 96, python_share=0.02),
        AGAIN: turns(110, 99, 100),  # so loud a machine excuses nothing
    }
    assert [one.reached for one in ratios_of(ALONE, of_all)] == [False, False]


def test_what_users_write_does_what_the_built_in_action_does() -> None:
    packet = bytes(range(64))
    options = {
        "source_mac": bytes.fromhex(user_actions.SOURCE.replace(":", "")),
        "destination_mac": bytes.fromhex(user_actions.DESTINATION.replace(":", "")),
    }
    for name, given in (("drop", {}), ("forward", options)):
        expected = bytearray(packet)
        verdict = _batch.act(expected, name, **given)
        assert ask(getattr(user_actions, name), packet) == (verdict, bytes(expected))
        packets, frames = as_batch([packet])
        assert list(getattr(user_actions, f"{name}_batch")(packets, frames)) == [verdict]
        assert as_bytes(packets, frames) == [bytes(expected)]
