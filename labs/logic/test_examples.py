# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The examples of forwarder/examples under real traffic, in both of their forms, held to exact counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forwarder.examples import allow_list, balancer
from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT
from labs.harness.receiver import Receiver
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import FORMS, PACKETS, plan, to_sink


@pytest.fixture
def example() -> str:
    """Name of the example, given by each class."""
    raise NotImplementedError


@pytest.fixture
def form(request: pytest.FixtureRequest) -> str:
    """Which of its forms."""
    return str(request.param)


@pytest.fixture
def forwarder_spec(example: str, form: str) -> ForwarderSpec:
    module = f"forwarder.examples.{example}"
    if form == "numpy":
        return ForwarderSpec(
            "dut0", action="python", python=f"{module}:decide", out="dut1", check_owners=True
        )
    return ForwarderSpec(
        "dut0",
        action="verdict",
        verdict=f"{module}_numba:decide",
        verdict_context=f"{module}_numba:context",
        out="dut1",
        check_owners=True,
    )


@pytest.mark.parametrize("form", FORMS, indirect=True)
class TestAllowList:
    """Sources 192.0.2.0 to .15 in turn: three of sixteen are on the list."""

    @pytest.fixture
    def example(self) -> str:
        return "allow_list"

    @pytest.mark.loses("forwarder/dropped", PACKETS * 13 // 16)
    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_only_what_is_on_the_list_arrives(
        self,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        sources = [f"192.0.2.{n}" for n in range(16)]
        traffic_plan = plan([to_sink(source) for source in sources])
        sink = receiver("sink", PORT)
        sent = traffic(traffic_plan)
        allowed = [n for n in range(sent.sent) if sources[n % 16] in allow_list.ALLOWED]
        received = sink.drain(allowed, payload=traffic_plan.payload)
        assert received.complete, received
        assert {one.rpartition(":")[0] for one in received.sources} == {
            "192.0.2.1",
            "192.0.2.7",
            "192.0.2.11",
        }
        counters = forwarder.counters()
        assert (counters["tx_packets"], counters["dropped"]) == (PACKETS * 3 // 16, PACKETS * 13 // 16)


@pytest.mark.parametrize("form", FORMS, indirect=True)
class TestBalancer:
    """40 flows to four backends, each a real socket on an address of its own that checks the checksum."""

    @pytest.fixture
    def example(self) -> str:
        return "balancer"

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_each_backend_gets_its_flows_in_order_and_unharmed(
        self,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        ports = range(1000, 1040)
        packets = [to_sink(sport=port) for port in ports]
        traffic_plan = plan(packets)
        sinks = [receiver("sink", PORT, address) for address, _ in balancer.BACKENDS]
        sent = traffic(traffic_plan)
        ip = packets[0]["IP"]
        source, destination = (int.from_bytes(map(int, one.split(".")), "big") for one in (ip.src, ip.dst))
        chosen = [balancer.flow_hash(source, destination, port << 16 | PORT, 17) % 4 for port in ports]
        assert set(chosen) == {0, 1, 2, 3}
        for backend, sink in enumerate(sinks):
            received = sink.drain(
                [n for n in range(sent.sent) if chosen[n % 40] == backend], payload=traffic_plan.payload
            )
            assert received.complete, (backend, received)
            assert len(received.sources) == chosen.count(backend), "a flow stays with its backend"
        assert forwarder.counters()["tx_packets"] == PACKETS
