# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The program's hop by each witness: fexit, the program itself, the driver, the tracepoints."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.harness.account_counts import Route
from labs.harness.account_verdicts import (
    dropped_by_program,
    other_verdicts,
    seen,
    sent_back_by_program,
    xdp_hop,
)
from labs.harness.ledger import Hop, Ledger
from xdp.watch_verdicts import VERDICTS

NATIVE = Route("gen0", "dut0", "dut1", "sink0")
GENERIC = dataclasses.replace(NATIVE, native=False)
frames = st.integers(0, 10**9)
said = st.fixed_dictionaries(dict.fromkeys(VERDICTS, frames))


def by_fexit(said: dict[str, int], missed: int = 0) -> dict[str, int]:
    return {f"verdict_{name}": count for name, count in {**said, "missed": missed}.items()}


def by_driver(said: dict[str, int], failed: int = 0) -> dict[str, int]:
    """As veth counts the verdicts, and the tracepoint names the exceptions."""
    return {
        "dut0_rx_queue_0_xdp_drops": said["drop"] + said["aborted"] + said["invalid"],
        "dut0_rx_queue_0_xdp_tx": said["tx"] - failed,
        "dut0_rx_queue_0_xdp_tx_errors": failed,
        "kernel_dut_dut0_exception_XDP_ABORTED": said["aborted"],
        "kernel_dut_dut0_exception_ACTION_77": said["invalid"],
    }


def fates(hop: Hop) -> dict[str, int]:
    return {fate.name: fate.count for fate in hop.fates}


def wanted(said: dict[str, int], failed: int = 0) -> dict[str, int]:
    return {
        "aborted": said["aborted"],
        "dropped": said["drop"],
        "no_verdict": said["invalid"],
        "sent_back": said["tx"] - failed,
        "not_sent_back": failed,
        "host_passed": said["pass"],
    }


@given(said, st.data(), st.booleans())
def test_fexit_and_a_driver_that_counts_tell_the_same_of_a_program_that_does_not(
    said: dict[str, int], data: st.DataObject, fexit: bool
) -> None:
    failed = data.draw(st.integers(0, said["tx"]))
    counted = by_driver(said, failed) | (by_fexit(said) if fexit else {})
    hop = xdp_hop(counted, NATIVE, sum(said.values()), said["redirect"])
    assert fates(hop) == wanted(said, failed)
    assert (hop.unaccounted, hop.onward) == (0, said["redirect"])
    assert hop.seen_by == ("fexit" if fexit else "driver")
    assert dropped_by_program(counted, NATIVE) == said["aborted"] + said["drop"] + said["invalid"]
    assert sent_back_by_program(counted, NATIVE) == said["tx"] - failed


@given(said)
def test_in_generic_mode_only_fexit_tells_dropped_and_sent_back_from_passed(said: dict[str, int]) -> None:
    exceptions = {name: count for name, count in by_driver(said).items() if name.startswith("kernel_")}
    total = sum(said.values())
    told = xdp_hop(exceptions | by_fexit(said), GENERIC, total, said["redirect"])
    guessed = xdp_hop(exceptions, GENERIC, total, said["redirect"])
    assert (fates(told), told.seen_by) == (wanted(said), "fexit")
    passed = said["pass"] + said["drop"] + said["tx"]
    assert fates(guessed) == wanted({**said, "drop": 0, "tx": 0, "pass": passed})
    assert guessed.seen_by == "nobody"


@given(said, st.sampled_from(VERDICTS), st.integers(1, 10**6))
def test_frames_that_fexit_saw_and_nobody_else_break_the_balance(
    said: dict[str, int], verdict: str, more: int
) -> None:
    """Without fexit what a program passed is what is left over, and nothing can be missing."""
    counted = by_driver(said) | by_fexit({**said, verdict: said[verdict] + more})
    arrivals = sum(said.values())
    hop = xdp_hop(counted, NATIVE, arrivals, said["redirect"])
    redirect = Hop("redirect", said["redirect"], onward=0)
    assert Ledger(arrivals, (hop, redirect)).breaks[0].missing == -more


@given(said, st.integers(1, 10**6))
def test_what_fexit_missed_a_part_of_is_not_used(said: dict[str, int], missed: int) -> None:
    counted = by_driver(said) | by_fexit(dict.fromkeys(VERDICTS, 0), missed)
    assert seen(counted) is None
    assert xdp_hop(counted, NATIVE, sum(said.values()), said["redirect"]).seen_by == "driver"


def test_a_program_that_counts_keeps_its_classes_and_is_held_against_fexit() -> None:
    counted = {"program_redirected": 70, "program_arp": 10, "program_other_port": 20}
    alone = xdp_hop(counted, NATIVE, 100, 70)
    verdicts = dict.fromkeys(VERDICTS, 0) | {"pass": 30, "redirect": 70}
    both = xdp_hop(counted | by_fexit(verdicts), NATIVE, 100, 70)
    assert dataclasses.replace(both, seen_by="program") == alone
    assert both.seen_by == "program and fexit"
    for verdict in ("pass", "redirect"):
        more = by_fexit({**verdicts, verdict: verdicts[verdict] + 3})
        forgot = xdp_hop(counted | more, NATIVE, 103, 73)
        assert (forgot.entered, forgot.onward, forgot.unaccounted) == (103, 70, 3)


@pytest.mark.parametrize(
    ("verdicts", "named"),
    [
        ({"pass": 30, "redirect": 70}, []),
        ({"pass": 20, "drop": 10, "redirect": 70}, [{"XDP_PASS": 20, "XDP_DROP": 10}]),
        ({"tx": 30, "redirect": 70}, [{"XDP_TX": 30}]),
    ],
)
def test_classes_that_are_not_passed_are_named(verdicts: dict[str, int], named: list[dict[str, int]]) -> None:
    counted = {"program_redirected": 70, "program_arp": 10, "program_other_port": 20, "program_never": 0}
    counted |= by_fexit(dict.fromkeys(VERDICTS, 0) | verdicts)
    hop = xdp_hop(counted, NATIVE, 100, 70)
    found = other_verdicts(counted, hop)
    assert [dict(one.reasons) for one in found] == [
        {name: one[name] for name in ("XDP_DROP", "XDP_PASS", "XDP_TX") if name in one} for one in named
    ]
    assert all(one.fates == ("xdp/host_arp", "xdp/host_other_port") for one in found)
