# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two queues of one card, a zero-copy socket on each: each gets its flows, and both are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder import netdev
from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import TopologySpec
from labs.harness.traffic import TrafficReport
from labs.pipeline.flows import exchange, flows_by_queue, moved
from labs.zerocopy.conftest import DEVICES, GUEST

pytestmark = [pytest.mark.lab, pytest.mark.guest]
EACH = 100


@pytest.fixture
def topology_spec(zero_copy: TopologySpec) -> TopologySpec:
    """The forwarder's card with two queues, the sender's with one: what spreads the flows is between them."""
    if (netdev.queues(DEVICES[1]) or 1) < 2:
        pytest.skip(f"{DEVICES[1]} has one queue: {GUEST}")
    return zero_copy.with_links(queues=2).with_end("gen0", send_queues=1)


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", queues=(0, 1), action="echo", check_owners=True, binding="zero-copy")


def test_each_queue_has_a_socket_of_its_own_and_each_flow_stays_on_its_queue(
    pipeline: Pipeline,
    forwarder: ForwarderProcess,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
) -> None:
    found = pipeline.xskmap()
    assert [slot.index for slot in found.occupied] == [0, 1]
    assert {slot: (one.queue, one.zero_copy) for slot, one in found.sockets.items()} == {
        0: (0, True),
        1: (1, True),
    }
    assert len({one.inode for one in found.sockets.values()}) == 2
    flows = flows_by_queue(forwarder, traffic, receiver)
    before, start = pipeline.count(), forwarder.counters_of_queues()
    counts = {queue: EACH * (1 + queue) for queue in flows}  # unequal, so that swapped queues show
    exchange(flows, counts, traffic, rate_pps=500)
    counted = pipeline.counted_since(before)
    assert moved(forwarder, start) == moved(forwarder, start, "tx_packets") == counts
    for queue, count in counts.items():
        assert counted[f"dut0_rx{queue}_xdp_redirects"] == count
        assert counted[f"dut0_tx{queue}_xdp_tx"] == count
