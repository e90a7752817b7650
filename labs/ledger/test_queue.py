# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames that the queue (qdisc) of the sending device drops in silence are a fate of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from labs.harness.ledger import Ledger
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import Topology, TopologySpec
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from labs.pipeline.command import comes_true

pytestmark = [pytest.mark.lab, pytest.mark.balance]
COUNT, ROOM = 200, 20
# Below a slow one (20 frames take a tenth of a second) a queue that drops the oldest and reports success.
SLOW = "root handle 1: tbf rate 100kbit burst 1600 limit 100000"
DROPPING = f"parent 1: handle 2: pfifo_head_drop limit {ROOM}"


@pytest.fixture
def topology(topology_spec: TopologySpec, run_id: str) -> Iterator[Topology]:
    """The network, with a queue on gen0."""
    with Topology.build(topology_spec, run=run_id) as built:
        for queue in (SLOW, DROPPING):
            with built["gen"].entered():
                command = ["tc", "qdisc", "add", "dev", "gen0", *queue.split()]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no queue that drops in silence on this kernel: {done.stderr.strip()}")
        yield built


def test_what_the_senders_queue_drops_is_named(
    pipeline: Pipeline,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
    request: pytest.FixtureRequest,
) -> None:
    socket = receiver("gen", SOURCE_PORT)
    plan = Traffic(TrafficPlan(datagram(), count=COUNT, sequence=True))
    before = pipeline.count()
    sent = traffic(plan)
    assert sent.sent == COUNT  # the sender was told so of each
    lost = pipeline.counted_since(before)["gen0_qdisc_drops"]
    assert 0 < lost < COUNT

    def back() -> int:
        return pipeline.count()["gen0_rx_packets"] - before["gen0_rx_packets"]

    assert comes_true(lambda: back() == COUNT - lost, 5)
    received = socket.drain(COUNT, deadline_s=0.1, payload=plan.payload)  # no longer: the others never come
    request.node.add_marker(pytest.mark.loses("sender/queue_dropped", lost))
    made = ledger(sent, received, {"sender/queue_dropped": lost})
    made.check()
    assert made.fates()["receiver/received"] == COUNT - lost
