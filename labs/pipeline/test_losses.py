# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Losses made on purpose appear in their own line of the ledger, to the packet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.borrow import borrowed_socket
from labs.harness.ledger import Ledger
from labs.harness.packets import PORT, datagram
from labs.harness.pipeline import XSKMAP, Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, TopologySpec
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

from .conftest import Exchange

pytestmark = [pytest.mark.lab, pytest.mark.balance]
RX_SIZE = 256


@pytest.fixture
def send(traffic: Callable[..., TrafficReport]) -> Callable[[int], TrafficReport]:
    """Sends datagrams that nobody will answer."""
    return lambda count: traffic(
        Traffic(TrafficPlan(datagram(), count=count, rate_pps=20_000, sequence=True))
    )


class TestFullRxRing:
    """The forwarder does not read."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="drop", rx_size=RX_SIZE, pause_receive=True)

    def test_what_does_not_fit_the_rx_ring_is_lost_there(
        self, pipeline: Pipeline, send: Callable[[int], TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        sent = send(1_000)
        lost = 1_000 - RX_SIZE
        made = ledger(sent, expected={"redirect/rx_ring_full": lost, "rx_ring/waiting": RX_SIZE})
        made.check()
        assert pipeline.xskmap().sockets[0].statistics.rx_ring_full == lost


class TestEmptyFillRing:
    """The forwarder never gives the kernel a frame to receive into."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="drop", no_fill=True)

    def test_without_frames_all_are_lost_for_want_of_one(
        self, pipeline: Pipeline, send: Callable[[int], TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        ledger(send(700), expected={"redirect/no_frame": 700}).check()
        socket = pipeline.xskmap().sockets[0]
        assert socket.fill is not None
        assert socket.fill.level == 0


class TestWrongQueue:
    """The socket is bound to queue 1, and stands in the slot of queue 0, where the packets arrive."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR.with_links(queues=2).with_end("gen0", send_queues=1)

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", queues=(1,), action="drop")

    def test_a_socket_of_another_queue_is_refused_by_the_redirect(
        self, pipeline: Pipeline, send: Callable[[int], TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        xsks = pipeline.program.maps[XSKMAP]
        socket = pipeline.xskmap().sockets[1]
        assert pipeline.forwarder is not None
        with borrowed_socket(pipeline.forwarder.pid, socket.inode) as fd:
            xsks[0] = fd
        del xsks[1]
        assert pipeline.xskmap().sockets[0].queue == 1
        ledger(send(600), expected={"redirect/refused": 600}).check()

    def test_packets_of_a_queue_without_socket_go_to_the_host(
        self,
        pipeline: Pipeline,
        send: Callable[[int], TrafficReport],
        receiver: Callable[..., Receiver],
        ledger: Callable[..., Ledger],
    ) -> None:
        assert [slot.index for slot in pipeline.xskmap().occupied] == [1]
        host = receiver("dut", PORT)
        ledger(send(400), delivered={"xdp/host_no_socket"}).check()
        assert host.drain(400).count == 400


class TestLedgerItself:
    """The ledger cannot be talked into a balance."""

    @pytest.mark.unbalanced("one packet more is claimed than was sent")
    def test_one_packet_more_than_was_sent_breaks_it(
        self, exchange: Callable[..., Exchange], ledger: Callable[..., Ledger]
    ) -> None:
        sent, received, made = exchange(100)
        made.check()
        broken = ledger(sent.sent + 1, received)
        assert broken.unaccounted == 1
        assert str(broken.first_break()) == "1 frame unaccounted for at sender"
