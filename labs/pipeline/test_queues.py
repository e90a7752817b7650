# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two queues, two sockets of one forwarder: each flow stays on its queue, and each socket answers its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, TopologySpec
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

pytestmark = [pytest.mark.lab, pytest.mark.balance]
EACH = 300  # all together fewer than a CPU's backlog holds (net.core.netdev_max_backlog): a stall loses none


@pytest.fixture
def topology_spec() -> TopologySpec:
    return PAIR.with_links(queues=2)


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", queues=(0, 1), action="echo", check_owners=True)


Flow = tuple[int, Receiver]


@pytest.fixture
def flows(
    pipeline: Pipeline, traffic: Callable[..., TrafficReport], receiver: Callable[..., Receiver]
) -> dict[int, Flow]:
    """Queue → source port and socket of a flow that the sender's kernel puts there; found out by sending."""
    found: dict[int, Flow] = {}
    for port in range(SOURCE_PORT, SOURCE_PORT + 64):
        socket = receiver("gen", port)  # without it the echo would be answered by an ICMP error, also counted
        before = pipeline.count()
        traffic(TrafficPlan(datagram(sport=port), count=1))
        assert socket.drain([], settle_s=0.05).count == 1
        delta = pipeline.counted_since(before)
        for queue in (0, 1):
            if delta[f"dut0_rx_queue_{queue}_xdp_packets"]:
                found.setdefault(queue, (port, socket))
        if len(found) == 2:
            return found
    raise AssertionError(
        f"64 flows, and all on queue {list(found)}: the sender's kernel does not spread them"
    )


def test_two_flows_use_two_sockets_without_cross_talk(
    pipeline: Pipeline,
    forwarder: ForwarderProcess,
    flows: dict[int, Flow],
    traffic: Callable[..., TrafficReport],
) -> None:
    assert [slot.index for slot in pipeline.xskmap().occupied] == [0, 1]
    assert len({one.inode for one in pipeline.xskmap().sockets.values()}) == 2
    before = pipeline.count()
    counts = {queue: EACH * (1 + queue) for queue in flows}  # unequal, so that swapped queues show
    start = forwarder.counters_of_queues()
    for queue, (port, socket) in flows.items():
        plan = Traffic(TrafficPlan(datagram(sport=port), count=counts[queue], rate_pps=20_000, sequence=True))
        traffic(plan)
        received = socket.drain(counts[queue], payload=plan.payload)
        assert received.complete, received
    delta = pipeline.counted_since(before)
    assert delta["program_redirected"] == sum(counts.values())
    end = forwarder.counters_of_queues()
    for queue, count in counts.items():
        assert delta[f"dut0_rx_queue_{queue}_xdp_redirect"] == count
        assert end[queue]["rx_packets"] - start[queue]["rx_packets"] == count
        assert end[queue]["tx_packets"] - start[queue]["tx_packets"] == count
