# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Flows by the queue that they meet; the kernel or the card draws which one, so it is found by sending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.receiver import Receiver
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport

TRIES = 64


@dataclass(frozen=True)
class Flow:
    """Datagrams from one port of gen, and the socket there that gets them back."""

    port: int
    socket: Receiver


def flows_by_queue(
    forwarder: ForwarderProcess,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
) -> dict[int, Flow]:
    """A flow for each of the forwarder's queues; it must echo.

    Raises:
        AssertionError: of `TRIES` flows none met some queue.
    """
    found: dict[int, Flow] = {}
    for port in range(SOURCE_PORT, SOURCE_PORT + TRIES):
        # Without the socket the echo would be answered by an ICMP error, which is counted, too.
        flow = Flow(port, receiver("gen", port))
        start = forwarder.counters_of_queues()
        exchange({0: flow}, {0: 1}, traffic, rate_pps=1)
        (queue,) = (queue for queue, packets in moved(forwarder, start).items() if packets)
        found.setdefault(queue, flow)
        if len(found) == len(start):
            return found
    raise AssertionError(f"{TRIES} flows, and all on queue {list(found)}: nobody spreads them")


def exchange(
    flows: dict[int, Flow], counts: dict[int, int], traffic: Callable[..., TrafficReport], rate_pps: float
) -> None:
    """Sends so many datagrams to each queue, one flow after the other; all must come back.

    Raises:
        AssertionError: they do not.
    """
    for queue, flow in flows.items():
        plan = TrafficPlan(datagram(sport=flow.port), count=counts[queue], rate_pps=rate_pps, sequence=True)
        built = Traffic(plan)
        traffic(built)
        received = flow.socket.drain(counts[queue], payload=built.payload)
        assert received.complete, received


def moved(
    forwarder: ForwarderProcess, before: list[dict[str, int]], counter: str = "rx_packets"
) -> dict[int, int]:
    """By how much a counter of each queue moved since; the forwarder's queues count from 0 without a gap."""
    now = forwarder.counters_of_queues()
    return {queue: now[queue][counter] - then[counter] for queue, then in enumerate(before)}
