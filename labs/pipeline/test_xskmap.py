# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The XSKMAP of a running pipeline holds the forwarder's own socket, and rules where packets go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labs.harness.borrow import borrowed_socket
from labs.harness.netns import NetNs
from labs.harness.packets import PORT, SOURCE_PORT, datagram
from labs.harness.pipeline import XSKMAP, Pipeline
from labs.harness.receiver import Receiver
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from xdp.xskmap_model import XskMap
from xdp.xskmap_owner import owners

pytestmark = pytest.mark.lab


def test_slot_0_holds_the_forwarders_own_socket_and_all_others_are_empty(
    pipeline: Pipeline, xskmap: Callable[[], XskMap]
) -> None:
    found = xskmap()
    assert found.method == "btf"
    assert [slot.index for slot in found.occupied] == [0]
    assert len(found.slots) == 64
    socket = found.sockets[0]
    dut: NetNs = pipeline.dut
    assert pipeline.forwarder is not None
    assert socket.inode == pipeline.forwarder.sockets[0]["inode"]
    assert [owner.pid for owner in socket.owners] == [pipeline.forwarder.pid]
    assert (socket.queue, socket.device, socket.ifindex) == (0, "dut0", dut.interface_index("dut0"))
    assert socket.netns.inode == dut.inode
    assert (socket.state, socket.zero_copy) == ("bound", False)


def test_a_removed_entry_sends_packets_to_the_host_until_it_is_put_back(
    pipeline: Pipeline,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
) -> None:
    """1,000 through the forwarder, 1,000 to the host's socket, 1,000 through the forwarder again."""
    host, replies = receiver("dut", PORT), receiver("gen", SOURCE_PORT)
    plan = Traffic(TrafficPlan(datagram(), count=1_000, rate_pps=20_000, sequence=True))
    assert pipeline.forwarder is not None
    xsks = pipeline.program.maps[XSKMAP]
    entry = pipeline.xskmap().sockets[0]
    assert traffic(plan).sent == 1_000
    assert replies.drain(1_000, payload=plan.payload).complete

    del xsks[0]
    assert pipeline.xskmap().occupied == ()
    assert owners([entry.inode]), "the forwarder must still hold its socket"
    assert traffic(plan).sent == 1_000
    assert host.drain(1_000, payload=plan.payload).complete
    assert replies.drain(0).count == 0

    with borrowed_socket(pipeline.forwarder.pid, entry.inode) as fd:
        xsks[0] = fd
    assert pipeline.xskmap().sockets[0].inode == entry.inode
    assert traffic(plan).sent == 1_000
    assert replies.drain(1_000, payload=plan.payload).complete
    assert host.drain(0).count == 0
    assert pipeline.program.counters()["no_socket"] == 1_000
    assert pipeline.program.counters()["redirected"] == 2_000


def test_a_killed_forwarder_leaves_an_empty_slot_and_the_host_gets_the_packets(
    pipeline: Pipeline, traffic: Callable[..., TrafficReport], receiver: Callable[..., Receiver]
) -> None:
    assert pipeline.forwarder is not None
    host = receiver("dut", PORT)
    pipeline.forwarder.kill()
    assert pipeline.xskmap().occupied == ()
    plan = Traffic(TrafficPlan(datagram(), count=500, rate_pps=20_000, sequence=True))
    traffic(plan)
    assert host.drain(500, payload=plan.payload).complete
