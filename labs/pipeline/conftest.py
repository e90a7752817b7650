# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the tests of this lab share: sending, receiving, and the account of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labs.harness.ledger import Ledger
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

Exchange = tuple[TrafficReport, ReceivedReport, Ledger]


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
