# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Counters: exact, cheap, and asserted as differences."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.all import IP, UDP, Ether, Raw

from labs.harness.counters import Counters, Snapshot, link_statistics
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan
from xdp.pyxdp import xsk
from xdp.pyxdp.errors import InputError, KernelError

GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
PACKET = (
    Ether(src=GEN.mac, dst=DUT.mac) / IP(src=GEN.ip, dst=DUT.ip) / UDP(sport=1, dport=4242) / Raw(bytes(18))
)


@pytest.fixture
def pair() -> Iterator[Topology]:
    with Topology.build(PAIR.with_links(queues=2)) as topology:
        yield topology


def test_a_difference_shows_what_moved_and_what_came_and_went() -> None:
    delta = Snapshot({"a_x": 5, "a_y": 7, "b_new": 3}, 200) - Snapshot({"a_x": 1, "a_y": 7, "c_old": 2}, 50)
    assert delta.changed == {"a_x": 4, "b_new": 3, "c_old": -2}
    assert delta["a_y"] == 0
    assert delta.of("a") == {"x": 4, "y": 0}
    assert delta.duration_ns == 150
    assert repr(delta) == "Delta(a_x=4, b_new=3, c_old=-2)"
    assert repr(Snapshot({}, 0) - Snapshot({}, 0)) == "Delta(nothing moved)"


def test_a_counter_that_does_not_exist_is_named_with_those_that_do() -> None:
    delta = Snapshot({"gen0_tx_packets": 1, "dut0_x": 1}, 1) - Snapshot({}, 0)
    with pytest.raises(KeyError, match="no counter 'gen0_tx_pkts'; there is gen0_tx_packets"):
        delta["gen0_tx_pkts"]


def test_queues_are_added_up() -> None:
    values = {f"dut0_rx_queue_{queue}_xdp_drops": queue for queue in range(12)}
    delta = Snapshot({**values, "dut0_rx_queue_0_drops": 99, "dut0_rx_dropped": 5}, 1) - Snapshot({}, 0)
    assert delta.total("dut0", "xdp_drops") == 66
    assert delta.total("dut0", "drops") == 99


def test_any_callable_can_be_a_source_and_names_do_not_clash() -> None:
    with Counters() as counters:
        number = itertools.count(5)
        counters.add("xdp", lambda: {"redirected": next(number)})
        with pytest.raises(InputError, match="'xdp' already"):
            counters.add("xdp", dict)
        first = counters.snapshot()
        assert (counters.snapshot() - first).changed == {"xdp_redirected": 1}
        counters.remove("xdp")
        assert len(counters.snapshot()) == 0


def test_what_never_settles_is_named() -> None:
    with Counters() as counters:
        number = itertools.count()
        counters.add("loop", lambda: {"idle": next(number)})
        with pytest.raises(TimeoutError, match=r"still move after 0\.1 s: loop_idle"):
            counters.settle(timeout_s=0.1)
        counters.settle(ignore=lambda name: name.endswith("_idle"))


@pytest.mark.system
def test_links_count_exactly_and_nothing_else_moves(pair: Topology) -> None:
    with Counters() as counters, Receiver(pair["dut"], 4242):
        counters.add_interface(pair["gen"], "gen0")
        counters.add_interface(pair["dut"], "dut0")
        before = counters.snapshot()
        Traffic(TrafficPlan(PACKET, count=1000)).send(pair["gen"], "gen0")
        delta = counters.settle() - before
    assert delta.changed == {
        "gen0_tx_packets": 1000,
        "gen0_tx_bytes": 60_000,
        "dut0_rx_packets": 1000,
        "dut0_rx_bytes": 60_000,
    }
    assert "dut0_rx_queue_1_xdp_packets" in delta
    assert "dut0_peer_ifindex" not in delta


@pytest.mark.system
def test_our_numbers_are_those_of_sysfs(pair: Topology) -> None:
    with pair["gen"].entered():
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    shown = next(line.split()[1:] for line in lines if line.split()[0] == "gen0:")
    index = pair["gen"].interface_index("gen0")
    with pair["gen"].socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        values = link_statistics(netlink, index)
        ours = [values[name] for name in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")]
        with pytest.raises(KernelError, match="ENODEV"):
            link_statistics(netlink, 9999)
    assert ours == [int(shown[column]) for column in (0, 1, 8, 9)]


@pytest.mark.system
def test_a_device_that_is_gone_is_an_error_and_closing_leaves_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    counters = Counters()
    with Topology.build(PAIR) as topology:
        counters.add_interface(topology["gen"], "gen0")
        topology.pairs[0].close()
        with pytest.raises(KernelError, match=r"gen0.*ENODEV"):
            counters.snapshot()
    counters.close()
    counters.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.system
def test_an_af_xdp_socket_is_counted_and_stays_open() -> None:
    with socket.socket(xsk.AF_XDP, socket.SOCK_RAW) as opened:
        with Counters() as counters:
            counters.add_xsk("xsk0", opened.fileno())
            assert dict(counters.snapshot()) == {
                "xsk0_rx_dropped": 0,
                "xsk0_rx_invalid_descs": 0,
                "xsk0_tx_invalid_descs": 0,
                "xsk0_rx_ring_full": 0,
                "xsk0_rx_fill_ring_empty_descs": 0,
                "xsk0_tx_ring_empty_descs": 0,
            }
        assert xsk.statistics(opened.fileno())
    with socket.socket() as tcp:
        with pytest.raises(KernelError, match="XDP_STATISTICS"):
            xsk.statistics(tcp.fileno())
        assert tcp.fileno() >= 0
        tcp.getsockname()
