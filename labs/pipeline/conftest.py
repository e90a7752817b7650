# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the tests of this lab share: the datagrams, and sending and receiving them with their account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from labs.harness.ledger import Ledger
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.topology import PAIR
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

PORT = 4242
SOURCE_PORT = 40000


Exchange = tuple[TrafficReport, ReceivedReport, Ledger]


def datagram(dport: int = PORT, sport: int = SOURCE_PORT, payload: bytes = bytes(18)) -> Packet:
    """A datagram from gen to dut."""
    gen, dut = PAIR.end("gen0"), PAIR.end("dut0")
    return (
        Ether(src=gen.mac, dst=dut.mac) / IP(src=gen.ip, dst=dut.ip) / UDP(sport=sport, dport=dport) / payload
    )


@pytest.fixture
def exchange(
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> Callable[..., Exchange]:
    """Sends datagrams, receives the replies, makes the account: `exchange(1000, replies=1000)`."""

    def run(
        packets: int, *, replies: int | None = None, rate_pps: float | None = 20_000, **options: Any
    ) -> Exchange:
        plan = Traffic(TrafficPlan(datagram(), count=packets, rate_pps=rate_pps, sequence=True))
        socket = receiver("gen", SOURCE_PORT)
        sent = traffic(plan)
        expected = packets if replies is None else replies
        received = socket.drain(expected, payload=plan.payload)
        socket.close()
        return sent, received, ledger(sent, received, **options)

    return run
