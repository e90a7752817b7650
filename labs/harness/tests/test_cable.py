# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two cards are borrowed and given back as they were; a veth pair stands for the cable between them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest

from forwarder import netdev
from labs.harness.cable import CableSpec
from labs.harness.netns import NetNs
from labs.harness.ping import ping
from labs.harness.topology import CABLE, Topology, TopologySpec
from labs.harness.veth import VethPair
from labs.harness.veth_spec import EndSpec, VethSpec
from xdp.pyxdp.errors import InputError

CARDS = VethSpec(EndSpec("home", "eth0", "02:00:00:00:05:00"), EndSpec("home", "eth1", "02:00:00:00:05:01"))


@pytest.fixture
def home(run_id: str) -> Iterator[NetNs]:
    """A namespace with two cards in it, in which this test is."""
    with NetNs("home", run_id) as namespace, VethPair(CARDS, namespace, namespace), namespace.entered():
        yield namespace


def cards(home: NetNs) -> dict[str, tuple[str, int]]:
    """Name → address and MTU."""
    netlink = home.netlink()
    try:
        return {
            link.get_attr("IFLA_IFNAME"): (link.get_attr("IFLA_ADDRESS"), link.get_attr("IFLA_MTU"))
            for link in netlink.get_links()
            if link.get_attr("IFLA_IFNAME") != "lo"
        }
    finally:
        netlink.close()


def queue_of(namespace: NetNs, interface: str) -> str:
    with contextlib.closing(namespace.netlink()) as route:
        index = namespace.interface_index(interface)
        (queue,) = (one for one in route.get_qdiscs(index) if one["index"] == index)
        return str(queue.get_attr("TCA_KIND"))


@pytest.mark.system
def test_cards_carry_frames_under_the_topologys_names_and_come_back_as_they_were(home: NetNs) -> None:
    before = cards(home)
    with Topology.build(CABLE.with_links(mtu=1400)) as topology:
        assert cards(home) == {}
        assert ping(topology["gen"], "192.168.1.20", run=topology.run, count=2).received == 2
        assert topology["dut"].interface_index("dut0") > 0
        for end in topology.spec.ends:
            assert queue_of(topology[end.node], end.name) == "pfifo"  # whatever the default is
    assert cards(home) == before
    assert set(before) == {"eth0", "eth1"}


@pytest.mark.system
@pytest.mark.parametrize("queues", [1, 2])
def test_cards_have_the_topologys_queues_meanwhile_and_their_own_again(run_id: str, queues: int) -> None:
    spec = dataclasses.replace(CARDS, queues=2)
    with NetNs("home", run_id) as home, VethPair(spec, home, home), home.entered():
        before = [netdev.queues(name) for name in ("eth0", "eth1")]
        with Topology.build(CABLE.with_links(queues=queues)) as topology:
            for end in topology.spec.ends:
                with topology[end.node].entered():
                    assert netdev.queues(end.name) == queues
        assert [netdev.queues(name) for name in ("eth0", "eth1")] == before


@pytest.mark.system
def test_more_queues_than_a_card_has_are_refused_with_its_name(home: NetNs) -> None:
    before = cards(home)
    with pytest.raises(InputError, match=r"eth0 has 1 queue\(s\), not 2; in a guest: --nic virtio,queues=2"):
        Topology.build(CABLE.with_links(queues=2))
    assert cards(home) == before


@pytest.mark.system
def test_a_card_that_is_not_there_is_named_and_the_other_comes_back(home: NetNs) -> None:
    before = cards(home)
    (link,) = CABLE.links
    assert isinstance(link, CableSpec)
    missing = dataclasses.replace(CABLE, links=(dataclasses.replace(link, devices=("eth0", "eth7")),))
    with pytest.raises(InputError, match="no device 'eth7' for dut0 in this namespace; there is"):
        Topology.build(missing)
    assert cards(home) == before


def test_a_cable_survives_json_and_needs_two_devices() -> None:
    assert TopologySpec.from_dict(CABLE.to_dict()) == CABLE
    (link,) = CABLE.links
    assert isinstance(link, CableSpec)
    with pytest.raises(InputError, match="name two devices"):
        dataclasses.replace(link, devices=("eth0", "eth0"))
