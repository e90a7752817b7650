# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What these labs share: a chain whose middle decides, and frames that go through it to real sockets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from labs.harness.packets import datagram
from labs.harness.topology import CHAIN, TopologySpec
from labs.harness.traffic import Traffic, TrafficPlan

if TYPE_CHECKING:
    from scapy.packet import Packet

SINK = CHAIN.end("sink0")
PACKETS = 2_000
# Of each example. numba is imported and compiles for a second before the forwarder is ready: no quick lab.
FORMS = [pytest.param("numpy", marks=pytest.mark.lab), pytest.param("numba", marks=pytest.mark.system)]


@pytest.fixture
def topology_spec() -> TopologySpec:
    """The chain gen, dut, sink; the sink has four addresses, as if it were four backends."""
    near, far = CHAIN.links
    backends = dataclasses.replace(far.b, addresses=tuple(f"192.168.2.{10 + n}/24" for n in range(4)))
    return dataclasses.replace(CHAIN, links=(near, dataclasses.replace(far, b=backends)))


def to_sink(source: str = "", sport: int = 0) -> Packet:
    """A datagram that the sink's own stack takes as it is, whatever is between."""
    packet = datagram(receiver=SINK)
    if source:
        packet["IP"].src = source
    if sport:
        packet["UDP"].sport = sport
    return packet


def plan(packets: list[Packet], count: int = PACKETS, rate_pps: float | None = 20_000) -> Traffic:
    """Frame n is packet n modulo their number, with n stamped into its payload."""
    return Traffic(TrafficPlan(packets, count=count, rate_pps=rate_pps, sequence=True))
