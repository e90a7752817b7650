# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What becomes of packets, by action, to the packet."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.topology import CHAIN, Topology, TopologySpec

from .conftest import check_books

pytestmark = pytest.mark.lab
COUNT = 1000
SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond rmem_max, for root


def received(forwarder: ForwarderProcess, count: int) -> Callable[[], bool]:
    return lambda: forwarder.counters()["rx_packets"] >= count


class TestForward:
    """Out of the other interface, to a neighbour that only the forwarder names."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return CHAIN

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        mac = CHAIN.end("sink0").mac
        return ForwarderSpec(
            "dut0",
            action="forward",
            out="dut1",
            set_dst_mac=mac,
            set_src_mac="02:00:00:00:00:99",
            check_owners=True,
        )

    def test_each_frame_leaves_by_the_other_interface_with_new_addresses(
        self, topology: Topology, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        with topology["sink"].socket(socket.AF_PACKET, socket.SOCK_RAW) as sink:
            sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            sink.bind(("sink0", 3))  # ETH_P_ALL
            sink.settimeout(2)
            send(COUNT)
            numbers = []
            for _ in range(COUNT):
                frame = sink.recv(2048)
                assert frame[:12] == bytes.fromhex("0200c0a8020a020000000099")
                numbers.append(int.from_bytes(frame[42:46], "big"))
        assert numbers == list(range(COUNT))
        counters = check_books(forwarder.stop())
        assert (counters["rx_packets"], counters["tx_packets"]) == (COUNT, COUNT)

    def test_a_dead_link_is_counted_and_costs_no_frame(
        self, topology: Topology, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        with topology["dut"].netlink() as route:
            route.link("set", index=topology["dut"].interface_index("dut1"), state="down")
        for part in 1, 2, 3:  # a forwarder without a CPU must not lose any before it has them
            send(COUNT)
            forwarder.wait_for(received(forwarder, part * COUNT), 5, "packets received")
        counters = check_books(forwarder.stop())
        assert counters["tx_enetdown"] > 0
        assert counters["tx_completed"] == 0
        assert counters["tx_packets"] == 2048, "one TX ring's worth waits"
        assert counters["tx_ring_full"] == 3 * COUNT - 2048


class TestPython:
    """A function of the user's decides, once a batch."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec(
            "dut0", action="python", python="labs.forwarder.functions:odd_back", check_owners=True
        )

    def test_verdicts_are_obeyed_and_written_bytes_are_sent(
        self, topology: Topology, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        with topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as back:
            back.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            back.bind(("gen0", 0x0800))
            back.settimeout(2)
            send(COUNT)
            frames = [back.recv(2048) for _ in range(COUNT // 2)]
        assert [int.from_bytes(frame[42:46], "big") for frame in frames] == list(range(1, COUNT, 2))
        assert all(frame[46:47] == b"!" for frame in frames)
        counters = check_books(forwarder.stop())
        assert counters["dropped"] == counters["tx_packets"] == COUNT // 2
        assert 0 < counters["callbacks"] <= counters["rx_batches"]


@pytest.mark.parametrize("function", ["fail", "too_many"])
def test_failing_function_ends_the_forwarder_with_its_traceback(
    topology: Topology,
    program: object,
    attachment: object,
    send: Callable[[int], None],
    function: str,
    run_id: str,
    request: pytest.FixtureRequest,
) -> None:
    # Once it runs it may not even read Python's own modules any more, as they may lie below /root.
    user = "nobody" if function == "fail" else ""
    spec = ForwarderSpec("dut0", action="python", python=f"labs.forwarder.functions:{function}", user=user)
    map_fd = request.getfixturevalue("program").map_fd("xsks_map")
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id, xskmap_fd=map_fd) as forwarder:
        send(1)
        assert forwarder.wait(5) == 1
        assert {"fail": "ZeroDivisionError: on purpose", "too_many": "gave 2 verdicts for 1 packets"}[
            function
        ] in forwarder.stderr
