# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Back into the host's own stack through a TAP: a normal socket receives all that XDP took away, in order."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.host import HostTap
from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.ledger import Ledger
from labs.harness.packets import PORT, SOURCE_PORT, datagram
from labs.harness.process import ProcessError
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, NodeSpec, Topology, TopologySpec
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import PACKETS, plan
from labs.logic.functions import OTHER_PORT
from xdp.program import Program
from xdp.pyxdp.errors import InputError

pytestmark = pytest.mark.lab
TAP = "host0"
ALL = 10_000
# Rings for all that is sent: on a busy machine a forwarder may stand still for long.
HOST_SPEC = ForwarderSpec(
    "dut0", action="host", host_tap=TAP, check_owners=True, frames=1 << 15, rx_size=1 << 14, fill_size=1 << 14
)


@pytest.fixture
def topology_spec() -> TopologySpec:
    return PAIR


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return HOST_SPEC


@pytest.mark.usefixtures("pipeline")  # its account is checked at the end
def test_all_of_ten_thousand_reach_a_normal_socket_in_order(
    topology: Topology,
    forwarder: ForwarderProcess,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> None:
    host = receiver("dut", PORT, PAIR.end("dut0").ip)
    traffic_plan = plan([datagram()], ALL, 40_000)
    sent = traffic(traffic_plan)
    received = host.drain(ALL, payload=traffic_plan.payload)
    assert received.complete, received
    assert received.sources == {f"{PAIR.end('gen0').ip}:{SOURCE_PORT}": ALL}
    made = ledger(sent, delivered={"forwarder/host"})
    made.check()
    assert made.delivered == ALL
    counters = forwarder.counters()
    assert (counters["host_packets"], counters["host_bytes"]) == (ALL, sent.bytes)
    with topology["dut"].netlink() as route:
        device = route.get_links(ifname=TAP)[0].get_attr("IFLA_STATS64")
    # A TAP's names are its user's: what we write is what it receives.
    assert (device["rx_packets"], device["tx_packets"], device["rx_dropped"]) == (ALL, 0, 0)


def test_what_the_socket_answers_goes_out_of_the_interface(
    topology: Topology, forwarder: ForwarderProcess
) -> None:
    with (
        topology["gen"].socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        topology["dut"].socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind(("", PORT))
        server.settimeout(2)
        client.settimeout(2)
        client.sendto(b"question", (PAIR.end("dut0").ip, PORT))
        question, source = server.recvfrom(100)
        server.sendto(b"answer", source)
        assert (question, client.recv(100)) == (b"question", b"answer")
    # The stack has it before the loop has counted it.
    forwarder.wait_for(lambda: forwarder.counters()["host_packets"] == 1, 5, "one packet counted")


@pytest.mark.parametrize("command", ["set", "del"], ids=["down", "deleted"])
@pytest.mark.loses("forwarder/host_refused", PACKETS)
@pytest.mark.usefixtures("pipeline")  # its account is checked at the end
def test_tap_that_is_down_or_gone_is_counted_and_costs_no_frame(
    topology: Topology, forwarder: ForwarderProcess, traffic: Callable[..., TrafficReport], command: str
) -> None:
    change = {"state": "down"} if command == "set" else {}
    with topology["dut"].netlink() as route:
        route.link(command, index=topology["dut"].interface_index(TAP), **change)
    traffic(plan([datagram()]))
    forwarder.wait_for(lambda: forwarder.counters()["host_refused"] == PACKETS, 5, "all refused")
    assert forwarder.counters()["host_packets"] == 0


class TestVerdict:
    """A function chooses, packet by packet, and may rewrite what the stack gets."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec(
            "dut0",
            action="python",
            python="labs.logic.functions:odd_to_host",
            host_tap=TAP,
            check_owners=True,
        )

    @pytest.mark.loses("forwarder/dropped", PACKETS // 2)
    @pytest.mark.loses("forwarder/host", PACKETS // 2)
    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_chosen_packets_reach_the_port_that_the_function_wrote(
        self, traffic: Callable[..., TrafficReport], receiver: Callable[..., Receiver]
    ) -> None:
        first, other = receiver("dut", PORT), receiver("dut", OTHER_PORT)
        traffic_plan = plan([datagram()])
        traffic(traffic_plan)
        received = other.drain(range(1, PACKETS, 2), payload=traffic_plan.payload)
        assert received.complete, received
        assert first.drain(0).count == 0


class TestTwoQueues:
    """A descriptor of the TAP for each thread, no lock between them."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR.with_links(queues=2)

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", queues=(0, 1), action="host", host_tap=TAP, check_owners=True)

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_packets_of_both_reach_the_socket(
        self,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        host = receiver("dut", PORT)
        traffic_plan = plan([datagram(sport=port) for port in range(2000, 2040)])
        traffic(traffic_plan)
        received = host.drain(PACKETS, payload=traffic_plan.payload)
        assert (received.unique, received.count, received.corrupt) == (PACKETS, PACKETS, 0)
        queues = [queue["host_packets"] for queue in forwarder.counters_of_queues()]
        assert sum(queues) == PACKETS
        assert min(queues) > 0


def test_nothing_is_left_when_the_forwarder_is_killed(
    topology: Topology, program: Program, run_id: str
) -> None:
    with ForwarderProcess(HOST_SPEC, namespace=topology["dut"], run=run_id) as forwarder:
        assert topology["dut"].interface_index(TAP) > 0
        forwarder.kill()
        forwarder.wait(5)
    with topology["dut"].netlink() as route:
        assert TAP not in [link.get_attr("IFLA_IFNAME") for link in route.get_links()]


def test_name_that_is_taken_is_refused(topology: Topology, run_id: str) -> None:
    spec = ForwarderSpec("dut0", action="host", host_tap="dut0")
    with pytest.raises(
        ProcessError, match="--host-tap dut0: there is an interface of that name; choose another"
    ):
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id)
    with topology["dut"].entered(), HostTap(TAP, "dut0") as first:
        with pytest.raises(InputError, match="there is an interface of that name"):
            HostTap(TAP, "dut0", queues=2)
        assert len(first.fds) == 1


class TestSourceValidation:
    """A host whose `conf.all` would drop everything."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        gen, dut = PAIR.nodes
        strict = NodeSpec(dut.role, sysctls=(("net/ipv4/conf/all/rp_filter", "1"),))
        return TopologySpec("strict", (gen, strict), PAIR.links)

    def test_it_is_an_error_that_says_what_to_set(self, topology: Topology) -> None:
        with (
            topology["dut"].entered(),
            pytest.raises(InputError, match=r"all.rp_filter is 1.*sysctl -w net.ipv4.conf.all.rp_filter=0"),
        ):
            HostTap(TAP, "dut0")
        assert not Path(f"/sys/class/net/{TAP}").exists()
