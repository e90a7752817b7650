# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Far more than the forwarder can take: every frame still has a fate, and the loss sits where it belongs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.arrived import Arrived
from labs.harness.counters import Snapshot
from labs.harness.flood import flood
from labs.harness.ledger import Ledger
from labs.harness.netns import NetNs
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.pipeline import Pipeline, attach
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from xdp.program import Program, ProgramSpec

pytestmark = pytest.mark.lab
FRAMES = 1_500_000  # half a second of what the kernel's own sender gives
RX_RING = 2048


@pytest.fixture
def first_cpu() -> Iterator[int]:
    """This thread on the first CPU, so that the sender, and the softirq that it raises, leave the others."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[0]})
    yield cpus[0]
    os.sched_setaffinity(0, cpus)


@pytest.fixture
def replies_end_at_gen0(topology: Topology) -> Iterator[None]:
    """The stack of gen would answer each reply with an ICMP error, which is traffic of its own."""
    with Program.load(ProgramSpec("xdp_drop")) as program:
        attach(program, topology, "gen0", "native")
        yield


class TestEcho:
    """The forwarder sends every packet back, which costs it a microsecond; they come three times as fast."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", rx_size=RX_RING, cpus=(max(os.sched_getaffinity(0)),))

    @pytest.mark.usefixtures("first_cpu", "replies_end_at_gen0")
    def test_a_flood_is_lost_where_the_forwarder_is_too_slow_and_nowhere_else(
        self, pipeline: Pipeline, counters: Snapshot, ledger: Callable[..., Ledger]
    ) -> None:
        sent = flood(pipeline.topology["gen"], "gen0", bytes(datagram()), FRAMES).sent
        back = pipeline.counted_since(counters).total("gen0", "xdp_drops")
        made = ledger(sent, Arrived(received=back))
        assert made.balanced
        lost = made.losses
        assert made.delivered + sum(lost.values()) == FRAMES
        at_the_ring = lost.get("redirect/rx_ring_full", 0) + lost.get("redirect/no_frame", 0)
        assert at_the_ring > FRAMES / 3, "this was no flood"
        elsewhere = {
            "redirect/rx_ring_full",
            "redirect/no_frame",
            "sender/device_refused",
            "tx/refused_by_device",
        }
        assert set(lost) <= elsewhere, lost
        # The driver, the socket and the tracepoint counted the same, each for itself.
        errors = {
            name: count for causes in made.causes if causes.exact for name, count in causes.reasons.items()
        }
        assert errors == {
            name: lost[f"redirect/{fate}"]
            for name, fate in (("ENOBUFS", "rx_ring_full"), ("ENOMEM", "no_frame"))
            if f"redirect/{fate}" in lost
        }


class TestBesidesOtherTraffic:
    """Another pair of namespaces is flooded at the same time, with drops of every kind."""

    @pytest.fixture
    def other(self) -> Iterator[Topology]:
        with Topology.build(PAIR) as built:
            yield built

    @pytest.fixture
    def noise(self, other: Topology) -> Iterator[Callable[[], int]]:
        """Frames that the other DUT's stack and program drop, until the test ends; gives how many so far."""
        done, sent = threading.Event(), [0]
        frame = bytes(datagram(dport=9))

        def make(namespace: NetNs) -> None:
            while not done.is_set():
                sent[0] += flood(namespace, "gen0", frame, 20_000).sent

        with Program.load(ProgramSpec("redirect_queue")) as program:
            attach(program, other, "dut0", "native")
            thread = threading.Thread(target=make, args=(other["gen"],))
            thread.start()
            yield lambda: sent[0]
            done.set()
            thread.join()

    def test_the_ledger_is_unmoved_by_traffic_of_others(
        self,
        noise: Callable[[], int],
        pipeline: Pipeline,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
        ledger: Callable[..., Ledger],
    ) -> None:
        plan = Traffic(TrafficPlan(datagram(), count=5_000, rate_pps=20_000, sequence=True))
        replies = receiver("gen", SOURCE_PORT)
        before = noise()
        sent = traffic(plan)
        received = replies.drain(sent.sent, payload=plan.payload)
        assert noise() > before, "there was no other traffic"
        made = ledger(sent, received)
        made.check()
        assert made.causes == ()
        assert not any("_skb_" in name for name in pipeline.count() if name.startswith("kernel_"))


def test_ten_accounts_in_a_row_balance(
    pipeline: Pipeline, traffic: Callable[..., TrafficReport], receiver: Callable[..., Receiver]
) -> None:
    """Each of them alone: what one left would be found by the next."""
    replies = receiver("gen", SOURCE_PORT)
    for turn in range(10):
        plan = Traffic(TrafficPlan(datagram(), count=1_000, sequence=True, first=turn * 1_000))
        before = pipeline.count()
        traffic(plan)
        received = replies.drain(range(turn * 1_000, (turn + 1) * 1_000), payload=plan.payload)
        assert received.complete, received
        delta = pipeline.counted_since(before)
        assert delta["forwarder_tx_completed"] == delta["program_redirected"] == 1_000
