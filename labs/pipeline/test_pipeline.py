# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Datagrams go through XSKMAP and forwarder and come back: all, once, in order, unchanged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.chain import ROOMY
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from xdp.attachment import Mode

from .conftest import Exchange

pytestmark = [pytest.mark.lab, pytest.mark.balance]


class TestEcho:
    """The forwarder sends everything back."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        """With room for all that is sent, however long a busy machine lets it stand."""
        return ForwarderSpec("dut0", action="echo", check_owners=True, **ROOMY)

    def test_ten_thousand_come_back_once_in_order_and_unchanged(
        self,
        pipeline: Pipeline,
        forwarder: ForwarderProcess,
        exchange: Callable[..., Exchange],
        receiver: Callable[..., Receiver],
    ) -> None:
        host = receiver("dut", PORT)
        sent, received, ledger = exchange(10_000)
        ledger.check()
        assert sent.sent == 10_000
        assert received.complete, received
        assert received.sources == {"192.168.1.20:4242": 10_000}
        assert forwarder.counters()["rx_packets"] == 10_000
        assert pipeline.program.counters()["redirected"] == 10_000
        assert host.drain(0).count == 0

    def test_nothing_sent_is_nothing_received(
        self, pipeline: Pipeline, forwarder: ForwarderProcess, exchange: Callable[..., Exchange]
    ) -> None:
        _, received, ledger = exchange(0)
        ledger.check()
        assert received.count == 0
        assert forwarder.counters()["rx_packets"] == 0
        assert set(pipeline.program.counters().values()) == {0}

    def test_frames_are_conserved_with_one_owner_each(
        self, forwarder: ForwarderProcess, exchange: Callable[..., Exchange]
    ) -> None:
        exchange(5_000, rate_pps=None)
        report = forwarder.stop()
        frames = report["frames"]
        assert frames["conserved"], frames
        assert frames["frames"] == ROOMY["frames"]
        where = ("pool", "fill", "rx", "tx", "completion", "kernel_receive", "kernel_transmit")
        assert sum(frames[place] for place in where) == frames["frames"]
        assert report["counters"]["owner_violations"] == 0


class TestDrop:
    """The forwarder forgets everything: that is its decision, counted as such."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="drop", check_owners=True)

    def test_all_are_dropped_by_decision_and_none_comes_back(self, exchange: Callable[..., Exchange]) -> None:
        _, received, ledger = exchange(2_000, replies=0, delivered={"forwarder/dropped"})
        ledger.check()
        assert ledger.delivered == 2_000
        assert received.count == 0


class TestGeneric:
    """The same through generic XDP."""

    @pytest.fixture
    def xdp_mode(self) -> Mode:
        return "generic"

    def test_generic_mode_gives_the_same_account(
        self, pipeline: Pipeline, exchange: Callable[..., Exchange]
    ) -> None:
        assert pipeline.attachment.mode == "generic"
        _, received, ledger = exchange(2_000)
        ledger.check()
        assert received.complete, received


def test_the_ready_line_says_what_was_granted(pipeline: Pipeline, forwarder: ForwarderProcess) -> None:
    (socket,) = forwarder.sockets
    assert (socket["interface"], socket["queue"], socket["mode"]) == ("dut0", 0, "copy")
    assert socket["inode"] == pipeline.xskmap().sockets[0].inode
