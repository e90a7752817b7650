# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The account through two links: out of another device than the packets came in by, to a third namespace."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.account_counts import Route
from labs.harness.chain import chain_datagram, chain_forwarder
from labs.harness.ledger import Ledger
from labs.harness.packets import PORT
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import CHAIN, TopologySpec
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from xdp.watch_names import known

pytestmark = [pytest.mark.lab, pytest.mark.balance]
PACKETS = 2_000


@pytest.fixture
def topology_spec() -> TopologySpec:
    return CHAIN


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return chain_forwarder(check_owners=True)


@pytest.fixture
def plan() -> Traffic:
    return Traffic(TrafficPlan(chain_datagram(), count=PACKETS, rate_pps=20_000, sequence=True))


def test_all_are_forwarded_out_of_the_other_device(
    pipeline: Pipeline,
    plan: Traffic,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> None:
    assert pipeline.route == Route("gen0", "dut0", "dut1", "sink0", native=True)
    sink = receiver("sink", PORT)
    sent = traffic(plan)
    received = sink.drain(sent.sent, payload=plan.payload)
    made = ledger(sent, received)
    made.check()
    assert received.complete, received
    assert made.delivered == PACKETS


def test_frames_for_a_sink_that_does_not_listen_end_in_its_stack(
    plan: Traffic, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
) -> None:
    made = ledger(traffic(plan), expected={f"egress/{known('NO_SOCKET')}": PACKETS})
    made.check()


class TestWrongMac:
    """The forwarder leaves the destination's address as it was: the DUT's own."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="forward", out="dut1", check_owners=True)

    def test_frames_with_a_wrong_mac_end_in_the_sinks_stack_by_that_name(
        self,
        plan: Traffic,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
        ledger: Callable[..., Ledger],
    ) -> None:
        sink = receiver("sink", PORT)
        ledger(traffic(plan), expected={f"egress/{known('OTHERHOST')}": PACKETS}).check()
        assert sink.drain(0).count == 0
