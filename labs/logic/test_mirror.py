# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Copies leave by an interface of their own, whatever becomes of the packets; both are accounted for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from forwarder.spec import ForwarderSpec
from labs.forwarder.conftest import check_books
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.receiver import SO_RCVBUFFORCE, Receiver
from labs.harness.topology import Topology
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import PACKETS, plan

pytestmark = pytest.mark.lab
SWAPPED = bytes.fromhex("0200c0a8010a0200c0a80114")


@pytest.fixture
def copies(topology: Topology) -> Iterator[Callable[[int], list[bytes]]]:
    """What arrives at the other end of the mirror's link: `copies(100)`."""
    with topology["sink"].socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        raw.bind(("sink0", 0x0800))
        raw.settimeout(2)
        yield lambda count: [raw.recv(2048) for _ in range(count)]
        raw.settimeout(0.02)
        with pytest.raises(TimeoutError):  # and not one more
            raw.recv(2048)


class TestAll:
    """Of all packets, as they came."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        # Rings for all that is sent: on a busy machine a forwarder may stand still for long.
        return ForwarderSpec(
            "dut0",
            action="echo",
            mirror="dut1",
            check_owners=True,
            frames=1 << 14,
            rx_size=1 << 13,
            fill_size=1 << 13,
        )

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_each_packet_is_echoed_and_its_copy_is_what_was_received(
        self,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
        copies: Callable[[int], list[bytes]],
    ) -> None:
        replies = receiver("gen", SOURCE_PORT)
        traffic_plan = plan([datagram()])
        sent = traffic(traffic_plan)
        received = replies.drain(PACKETS, payload=traffic_plan.payload)
        assert received.complete, received
        assert copies(PACKETS) == [traffic_plan.frame(n) for n in range(PACKETS)]
        counters = forwarder.counters()
        assert (counters["tx_packets"], counters["mirror_packets"]) == (PACKETS, PACKETS)
        assert (counters["mirror_completed"], counters["mirror_bytes"]) == (PACKETS, sent.bytes)

    def test_mirror_that_is_down_costs_copies_and_no_packet(
        self,
        topology: Topology,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        with topology["dut"].netlink() as route:
            route.link("set", index=topology["dut"].interface_index("dut1"), state="down")
        replies = receiver("gen", SOURCE_PORT)
        traffic_plan = plan([datagram()], 3 * PACKETS)
        traffic(traffic_plan)
        received = replies.drain(3 * PACKETS, payload=traffic_plan.payload)
        assert received.complete, received
        counters = check_books(forwarder.stop())
        assert counters["tx_packets"] == 3 * PACKETS
        assert counters["mirror_completed"] == 0
        assert (
            counters["mirror_no_frame"] + counters["mirror_ring_full"] + counters["mirror_packets"]
            == 3 * PACKETS
        )
        assert counters["mirror_packets"] == 2048, "one TX ring's worth waits"


class TestMarked:
    """Of what a function marked, as it left it."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec(
            "dut0",
            action="python",
            python="labs.logic.functions:mirror_each_fourth",
            mirror="dut1",
            mirror_marked=True,
            check_owners=True,
        )

    @pytest.mark.loses("forwarder/dropped", PACKETS // 2)
    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_only_marked_packets_are_copied_as_the_function_left_them(
        self,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        copies: Callable[[int], list[bytes]],
    ) -> None:
        traffic_plan = plan([datagram()])
        sent = traffic(traffic_plan)
        forwarder.wait_for(lambda: forwarder.counters()["tx_completed"] == PACKETS // 2, 5, "all handled")
        expected = [SWAPPED + traffic_plan.frame(n)[12:] for n in range(sent.sent) if n % 4 == 0]
        assert copies(len(expected)) == expected
        counters = forwarder.counters()
        assert (counters["dropped"], counters["mirror_packets"]) == (PACKETS // 2, PACKETS // 4)
