# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where the kernel refuses tracepoints or fexit, the account is made without them, and says so."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from labs.harness import pipeline as module
from labs.harness.account import MISSED
from labs.harness.ledger import Ledger
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.runs import new_run_id
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from labs.pipeline import report
from labs.pipeline.lab import run_lab
from labs.pipeline.spec import LabSpec
from xdp.pyxdp.errors import KernelError

pytestmark = [pytest.mark.lab, pytest.mark.balance]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel whose lockdown or paranoia forbids tracing."""

    def refuse(*_: object) -> None:
        raise KernelError("attach to tracepoint", "kfree_skb", errno.EPERM)

    monkeypatch.setattr(module, "Watch", refuse)
    monkeypatch.setattr(module, "VerdictWatch", refuse)


@pytest.mark.usefixtures("refused")
def test_the_account_is_made_without_the_kernels_reasons(
    pipeline: Pipeline,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> None:
    plan = Traffic(TrafficPlan(datagram(), count=500, sequence=True))
    replies = receiver("gen", SOURCE_PORT)
    sent = traffic(plan)
    made = ledger(sent, replies.drain(500, payload=plan.payload))
    made.check()
    assert made.causes == ()
    assert pipeline.drop_watch is None
    assert MISSED not in pipeline.count()
    assert "EPERM" in pipeline.unwatched
    assert pipeline.verdict_watch is None
    assert "EPERM" in pipeline.unseen
    assert made.hops[1].seen_by == "program"
    assert "entered, seen by program" in made.table()


@pytest.mark.usefixtures("refused")
def test_the_main_lab_goes_on_and_says_so() -> None:
    result = run_lab(LabSpec(packets=100, pings=0), new_run_id())
    assert result.passed, result.reasons
    drops = result.to_dict()["kernel_drops"]
    assert (drops["watched"], drops["drops"]) == (False, [])
    assert "EPERM" in drops["reason"]
    verdicts = result.to_dict()["verdicts"]
    assert (verdicts["seen"], verdicts["frames"]) == (False, {})
    assert "EPERM" in verdicts["reason"]
    assert report.verdicts(result) == []
    out = report.kernel_drops(result)
    assert len(out) == 1
