# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Zero-copy is granted, read back from the kernel, and every frame has its one fate as in copy mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.ledger import Ledger
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from xdp.xskmap_model import XskMap

pytestmark = [pytest.mark.lab, pytest.mark.guest]

PLAN = TrafficPlan(datagram(dport=4242), count=500, rate_pps=500, sequence=True)


@pytest.fixture
def account(
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> Callable[[], Ledger]:
    """Sends, receives all of it, and gives the account."""

    def make() -> Ledger:
        plan = Traffic(PLAN)
        socket = receiver("gen", SOURCE_PORT)
        sent = traffic(plan)
        received = socket.drain(sent.sent, payload=plan.payload)
        made = ledger(sent, received)
        assert received.complete, made.table()
        return made

    return make


def modes(xskmap: XskMap) -> list[bool]:
    return [socket.zero_copy for socket in xskmap.sockets.values()]


@pytest.mark.usefixtures("zero_copy")
def test_all_come_back_without_a_copy_and_the_kernel_says_so(
    pipeline: Pipeline, forwarder: ForwarderProcess, account: Callable[[], Ledger]
) -> None:
    assert [socket["mode"] for socket in forwarder.sockets] == ["zero-copy"]
    assert modes(pipeline.xskmap()) == [True]
    before = pipeline.count()
    account().check()
    counted = pipeline.counted_since(before)
    # The driver, too, says that it gave the frames as they are.
    assert counted["dut0_rx0_xdp_redirects"] == PLAN.count
    assert counted["dut0_tx0_xdp_tx"] == PLAN.count


@pytest.mark.usefixtures("zero_copy")
class TestAuto:
    """Asked for nothing, the kernel grants the best."""

    @pytest.fixture
    def forwarder_spec(self, forwarder_spec: ForwarderSpec) -> ForwarderSpec:
        return dataclasses.replace(forwarder_spec, binding="auto")

    def test_the_best_is_granted_unasked(self, pipeline: Pipeline, forwarder: ForwarderProcess) -> None:
        granted = [socket["mode"] == "zero-copy" for socket in forwarder.sockets]
        assert granted == modes(pipeline.xskmap())  # the forwarder and the kernel say the same
        if granted != [True]:
            pytest.skip("copy mode is granted on this kernel and card")


class TestCopy:
    """The same cards with copies: what differs is the mode, not the account."""

    @pytest.fixture
    def forwarder_spec(self, forwarder_spec: ForwarderSpec) -> ForwarderSpec:
        return dataclasses.replace(forwarder_spec, binding="copy")

    def test_all_come_back_with_copies(
        self, pipeline: Pipeline, forwarder: ForwarderProcess, account: Callable[[], Ledger]
    ) -> None:
        assert [socket["mode"] for socket in forwarder.sockets] == ["copy"]
        assert modes(pipeline.xskmap()) == [False]
        account().check()
