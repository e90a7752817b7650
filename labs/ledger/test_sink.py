# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Made in the kernel, verified in the kernel: the ledger's last hop is the sink, at any number of frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.chain import ROOMY, chain_datagram, chain_forwarder
from labs.harness.ledger import Ledger
from labs.harness.packets import datagram
from labs.harness.sink import Sink, SinkSpec
from labs.harness.topology import CHAIN, PAIR, TopologySpec
from labs.harness.traffic import TrafficPlan, TrafficReport, Vary
from xdp.pyxdp.errors import InputError

pytestmark = [pytest.mark.lab, pytest.mark.balance, pytest.mark.requires("atomics")]
FRAMES = 10_000  # fewer than the rings have room for: however busy the machine is, none is full
RATE = 100_000  # a fraction of what the forwarder takes
LOST_AT_A_RING = {
    "redirect/rx_ring_full",
    "redirect/no_frame",
    "tx/refused_by_device",
    "sender/device_refused",
}


@pytest.fixture(params=["pair", "chain"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def topology_spec(place: str) -> TopologySpec:
    return {"pair": PAIR, "chain": CHAIN}[place]


@pytest.fixture
def forwarder_spec(place: str) -> ForwarderSpec:
    if place == "pair":
        return ForwarderSpec("dut0", action="echo", check_owners=True, **ROOMY)
    return chain_forwarder(check_owners=True, **ROOMY)


@pytest.fixture
def plan(place: str) -> TrafficPlan:
    packet = datagram() if place == "pair" else chain_datagram()
    return TrafficPlan(packet, count=FRAMES, rate_pps=RATE, stamp=True)


@pytest.mark.requires("live_frames")
def test_every_frame_is_verified_by_the_sink_and_accounted_for(
    plan: TrafficPlan,
    sink: Callable[..., Sink],
    traffic: Callable[..., TrafficReport],
    ledger: Callable[..., Ledger],
) -> None:
    verifier = sink(plan)
    sent = traffic(plan, engine="xdp")
    verified = verifier.drain(sent.sent)
    made = ledger(sent, verified)
    made.check()
    assert verified.perfect
    assert made.hops[-1].name == "sink"
    assert made.delivered == verified.total.received == sent.sent == FRAMES


class TestOnAPair:
    """What the sink tells beside what was received."""

    @pytest.fixture
    def place(self) -> str:
        return "pair"

    @pytest.mark.requires("live_frames")
    def test_flows_that_do_not_belong_here_end_as_such(
        self,
        plan: TrafficPlan,
        sink: Callable[..., Sink],
        traffic: Callable[..., TrafficReport],
        ledger: Callable[..., Ledger],
    ) -> None:
        plan = plan.replace(count=1_000, vary=(Vary.parse("udp.sport=1000-1003"),))
        verifier = sink(SinkSpec.of(plan, flows=3))
        sent = traffic(plan, engine="xdp")
        made = ledger(sent, verifier.drain(sent.sent), expected={"sink/wrong_flow": 250})
        made.check()
        assert made.delivered == 750

    @pytest.mark.usefixtures("pipeline")
    def test_it_verifies_what_scapy_sends_as_well(
        self, plan: TrafficPlan, sink: Callable[..., Sink], traffic: Callable[..., TrafficReport]
    ) -> None:
        """The account at the end is made of what the sink found, without being asked."""
        plan = plan.replace(count=300, rate_pps=20_000)
        verifier = sink(plan)
        assert verifier.drain(traffic(plan).sent).perfect

    @pytest.mark.requires("live_frames")
    @pytest.mark.unbalanced("frames were claimed that nobody sent")
    def test_a_frame_that_nobody_sent_is_missed_by_the_sink(
        self,
        plan: TrafficPlan,
        sink: Callable[..., Sink],
        traffic: Callable[..., TrafficReport],
        ledger: Callable[..., Ledger],
    ) -> None:
        plan = plan.replace(count=500)
        verifier = sink(SinkSpec.of(plan, expected=501))
        traffic(plan, engine="xdp")
        made = ledger(501, verifier.drain(500))
        assert [str(found) for found in made.breaks] == [
            "1 frame unaccounted for at sender",
            "0 frames counted at sink/unexpected, 1 named by the sink",
        ]

    @pytest.mark.requires("live_frames")
    def test_without_a_pipeline_it_is_told_where(
        self, plan: TrafficPlan, sink: Callable[..., Sink], traffic: Callable[..., TrafficReport]
    ) -> None:
        plan = plan.replace(count=2_000)
        with pytest.raises(InputError, match='or say where frames arrive: sink\\(plan, "dut0"\\)'):
            sink(plan)
        verifier = sink(plan, "dut0")
        assert verifier.drain(traffic(plan, engine="xdp").sent).perfect


class TestQueues:
    """Two receive queues at the device with the sink: each is a stream of its own."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR.with_links(queues=2)

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", queues=(0, 1), action="echo", check_owners=True, **ROOMY)

    @pytest.fixture
    def plan(self) -> TrafficPlan:
        vary = (Vary.parse("udp.sport=1000-1031"),)
        return TrafficPlan(datagram(), count=1_000, rate_pps=20_000, stamp=True, vary=vary)

    def test_the_sink_sees_frames_of_all_queues(
        self,
        plan: TrafficPlan,
        sink: Callable[..., Sink],
        traffic: Callable[..., TrafficReport],
        ledger: Callable[..., Ledger],
    ) -> None:
        """By scapy, as frames that XDP sends choose their queue by the CPU; echo answers on the same."""
        verifier = sink(plan)
        found = verifier.drain(traffic(plan).sent)
        ledger(plan.count, found).check()
        assert sorted(found.streams) == [0, 1]
        assert found.total.received == 1_000


class TestLost:
    """The forwarder never gives the kernel a frame to receive into."""

    @pytest.fixture
    def place(self) -> str:
        return "pair"

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", no_fill=True)

    @pytest.mark.requires("live_frames")
    @pytest.mark.usefixtures("pipeline")
    @pytest.mark.loses("redirect/no_frame", 500)
    def test_what_never_came_is_a_loss_in_the_closing_account(
        self, plan: TrafficPlan, sink: Callable[..., Sink], traffic: Callable[..., TrafficReport]
    ) -> None:
        plan = plan.replace(count=500)
        verifier = sink(plan)
        traffic(plan, engine="xdp")
        assert verifier.report().lost == ((0, 499),)
