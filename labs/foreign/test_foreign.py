# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A forwarder that knows nothing of us is held to the same account: its rings tell what it did."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labs.harness.ledger import Ledger
from labs.harness.packets import datagram
from labs.harness.pipeline import Pipeline
from labs.harness.process import Process
from labs.harness.receiver import Receiver
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

pytestmark = [pytest.mark.lab, pytest.mark.balance]


@pytest.fixture
def plan() -> Traffic:
    """No more than its rings hold: it loses none, however seldom a busy machine lets it run."""
    return Traffic(TrafficPlan(datagram(), count=2_000, rate_pps=20_000, sequence=True))


def test_every_packet_of_a_foreign_forwarder_is_accounted_for(
    pipeline: Pipeline,
    forwarder: Process,
    plan: Traffic,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> None:
    replies = receiver("gen", 40000)
    sent = traffic(plan)
    received = replies.drain(sent.sent, payload=plan.payload)
    ledger(sent, received).check()
    assert received.complete, received
    assert [owner.pid for owner in pipeline.xskmap().sockets[0].owners] == [forwarder.pid]


class TestDropping:
    """It drops every tenth: the ledger says so, though nobody told it."""

    @pytest.fixture
    def drop_every(self) -> int:
        return 10

    def test_what_a_foreign_forwarder_drops_is_found_and_placed(
        self,
        plan: Traffic,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
        ledger: Callable[..., Ledger],
    ) -> None:
        replies = receiver("gen", 40000)
        sent = traffic(plan)
        received = replies.drain(range(sent.sent), deadline_s=0.5, payload=plan.payload)
        made = ledger(sent, received, expected={"forwarder/dropped": 200})
        made.check()
        assert received.lost == 200
        assert received.missing[0] == (9, 9)
