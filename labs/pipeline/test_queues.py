# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two queues, two sockets of one forwarder: each flow stays on its queue, and each socket answers its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, TopologySpec
from labs.harness.traffic import TrafficReport
from labs.pipeline.flows import Flow, exchange, flows_by_queue, moved

pytestmark = [pytest.mark.lab, pytest.mark.balance]
EACH = 300  # all together fewer than a CPU's backlog holds (net.core.netdev_max_backlog): a stall loses none


@pytest.fixture
def topology_spec() -> TopologySpec:
    return PAIR.with_links(queues=2)


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", queues=(0, 1), action="echo", check_owners=True)


@pytest.fixture
def flows(
    forwarder: ForwarderProcess,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
) -> dict[int, Flow]:
    """A flow for each queue, as the sender's kernel spreads them."""
    return flows_by_queue(forwarder, traffic, receiver)


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
    exchange(flows, counts, traffic, rate_pps=20_000)
    delta = pipeline.counted_since(before)
    assert delta["program_redirected"] == sum(counts.values())
    assert moved(forwarder, start, "rx_packets") == moved(forwarder, start, "tx_packets") == counts
    for queue, count in counts.items():
        assert delta[f"dut0_rx_queue_{queue}_xdp_redirect"] == count
