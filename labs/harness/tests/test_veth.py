# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Veth pairs: as asked for, silent, and gone after close."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labs.harness import veth_end
from labs.harness.ethtool import Ethtool
from labs.harness.netns import NetNs
from labs.harness.packets import datagram
from labs.harness.veth import VethPair
from labs.harness.veth_end import OFFLOADS
from labs.harness.veth_spec import EndSpec, VethSpec
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError, KernelError

A = EndSpec("gen", "gen0", "02:00:00:00:00:01", ("192.168.1.10/24",))
B = EndSpec("dut", "dut0", "02:00:00:00:00:02", ("192.168.1.20/24",))


@pytest.fixture
def namespaces() -> Iterator[tuple[NetNs, NetNs]]:
    with NetNs("gen", "t") as gen, NetNs("dut", "t") as dut:
        yield gen, dut


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queues": 0}, "use 1 to 4096"),
        ({"queues": 5000}, "use 1 to 4096"),
        ({"a": dataclasses.replace(A, send_queues=2)}, "gen0 cannot send on 2 queues"),
        ({"b": dataclasses.replace(B, send_queues=-1)}, "dut0 cannot send on -1 queues"),
        ({"mtu": 67}, "use 68 to 65535"),
        ({"mtu": 70000}, "use 68 to 65535"),
        ({"b": dataclasses.replace(B, mac=A.mac)}, "give each its own"),
        ({"b": dataclasses.replace(B, node="gen", name="gen0")}, "different names"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_before_the_kernel_is_asked(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        VethSpec(**{"a": A, "b": B, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sixteen-letters!"}, "interface name"),
        ({"name": "x" * 16}, "interface name"),
        ({"mac": "02:00:00:00:00"}, "MAC address"),
        ({"mac": "01:00:5e:00:00:01"}, "multicast"),
        ({"addresses": ("192.168.1.300/24",)}, "192.168.1.10/24"),
    ],
)
def test_an_end_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(A, **changes)


@pytest.mark.system
def test_both_ends_are_as_asked_for(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    with VethPair(VethSpec(A, B, queues=3, mtu=2000), gen, dut):
        for namespace, end in ((gen, A), (dut, B)):
            with namespace.netlink() as route:
                (link,) = route.link("get", ifname=end.name)
                assert link.get_attr("IFLA_MTU") == 2000
                assert link.get_attr("IFLA_ADDRESS") == end.mac
                assert link.get_attr("IFLA_NUM_TX_QUEUES") == link.get_attr("IFLA_NUM_RX_QUEUES") == 3
                assert link.get_attr("IFLA_OPERSTATE") == "UP"
                (neighbour,) = list(route.get_neighbours(ifindex=link["index"]))
                assert neighbour["state"] == 0x80
            with Ethtool(namespace) as ethtool:
                features = ethtool.features(end.name)
                assert not [name for name in (*OFFLOADS, "rx-gro") if features.get(name)]
                assert sum(name.endswith("xdp_packets") for name in ethtool.statistics(end.name)) == 3


@pytest.mark.system
def test_offloads_and_gro_stay_when_asked_for(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    spec = VethSpec(A, dataclasses.replace(B, gro=True), offloads=True)
    with VethPair(spec, gen, dut), Ethtool(gen) as at_gen, Ethtool(dut) as at_dut:
        assert at_gen.features("gen0")["tx-checksum-ip-generic"]
        assert not at_gen.features("gen0")["rx-gro"]
        assert at_dut.features("dut0")["rx-gro"]


@pytest.mark.system
def test_frames_of_the_kernels_own_sockets_arrive_with_whole_checksums(
    namespaces: tuple[NetNs, NetNs],
) -> None:
    gen, dut = namespaces
    with (
        VethPair(VethSpec(A, B), gen, dut),
        dut.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as tap,
        gen.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        tap.settimeout(2)
        sender.sendto(b"whole", ("192.168.1.20", 9))
        frame = tap.recv(2048)
    segment = frame[26:34] + b"\0\x11" + frame[38:40] + frame[34:] + b"\0"  # pseudo header, then UDP
    words = sum(int.from_bytes(segment[i : i + 2], "big") for i in range(0, len(segment) - 1, 2))
    assert (words & 0xFFFF) + (words >> 16) == 0xFFFF


@pytest.mark.system
def test_nothing_is_heard_on_a_new_pair(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    with VethPair(VethSpec(A, B), gen, dut):
        for namespace, end in ((gen, A), (dut, B)):
            with namespace.entered(), namespace.netlink() as route:
                (link,) = route.link("get", ifname=end.name)
                stats = link.get_attr("IFLA_STATS64")
                assert (stats["rx_packets"], stats["tx_packets"]) == (0, 0)
                assert Path("/proc/thread-self/net/if_inet6").read_text() == ""


@pytest.mark.system
def test_a_taken_name_is_refused_and_the_first_pair_stays(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    with VethPair(VethSpec(A, B), gen, dut):
        with pytest.raises(KernelError, match=r"gen0-other0.*EEXIST.*choose other names"):
            VethPair(VethSpec(A, dataclasses.replace(B, name="other0")), gen, dut)
        assert gen.interface_index("gen0")


@pytest.mark.system
def test_a_pair_that_fails_half_way_leaves_nothing(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    six = dataclasses.replace(B, addresses=("fd00::1/64",))
    with pytest.raises(InputError, match="ipv6=True"):
        VethPair(VethSpec(A, six), gen, dut)
    with pytest.raises(InputError, match="no interface"):
        gen.interface_index("gen0")


@pytest.mark.system
def test_after_close_both_ends_are_gone_at_once(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    pair = VethPair(VethSpec(A, B), gen, dut)
    pair.close()
    pair.close()
    for namespace, end in ((gen, A), (dut, B)):
        with pytest.raises(InputError, match="no interface"):
            namespace.interface_index(end.name)


@pytest.mark.system
def test_closing_a_pair_that_is_gone_already_is_fine(namespaces: tuple[NetNs, NetNs]) -> None:
    gen, dut = namespaces
    with VethPair(VethSpec(A, B), gen, dut), dut.netlink() as route:
        route.link("del", index=dut.interface_index("dut0"))


@pytest.mark.system
def test_a_new_pair_takes_frames_at_once() -> None:
    """Nothing but "up" is done to these ends, so that no later request hides that the link is not ready."""
    bare_a, bare_b = (dataclasses.replace(end, addresses=()) for end in (A, B))
    for _ in range(10):
        with (
            NetNs("gen", "t") as gen,
            NetNs("dut", "t") as dut,
            VethPair(VethSpec(bare_a, bare_b), gen, dut),
            dut.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as tap,
            gen.socket(socket.AF_PACKET, socket.SOCK_RAW) as out,
        ):
            out.bind(("gen0", 0))
            tap.settimeout(1)
            out.send(bytes(range(2, 14)) + b"\x88\xb5" + bytes(46))
            assert len(tap.recv(100)) == 60


@pytest.mark.system
@pytest.mark.parametrize("send_queues", [0, 1])
def test_what_an_end_sends_is_spread_over_as_many_queues_as_asked(
    namespaces: tuple[NetNs, NetNs], send_queues: int
) -> None:
    gen, dut = namespaces
    flows = 64
    spec = VethSpec(dataclasses.replace(A, send_queues=send_queues), B, queues=2)
    with (
        VethPair(spec, gen, dut),
        Program.load(ProgramSpec("xdp_pass")) as program,
        gen.socket(socket.AF_PACKET, socket.SOCK_RAW) as out,
        Ethtool(dut) as ethtool,
    ):
        with dut.entered():
            program.attach("dut0")
        out.bind(("gen0", 0))
        for port in range(flows):
            out.send(bytes(datagram(sport=1000 + port)))
        counted = ethtool.statistics("dut0")
        arrived = [counted[f"rx_queue_{queue}_xdp_packets"] for queue in (0, 1)]
    assert sum(arrived) == flows
    assert (arrived[1] == 0) == (send_queues == 1), arrived


@pytest.mark.system
def test_a_link_that_does_not_come_up_is_reported_with_its_state(
    namespaces: tuple[NetNs, NetNs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(veth_end, "OPERATIONAL_TIMEOUT_S", 0.05)
    with VethPair(VethSpec(A, B), *namespaces) as pair:
        with namespaces[0].netlink() as route:
            route.link("set", index=namespaces[0].interface_index("gen0"), state="down")
        with pytest.raises(KernelError, match=r"gen/gen0.*ETIMEDOUT.*state is DOWN, not UP"):
            pair.await_operational()


@pytest.mark.system
def test_a_feature_that_the_driver_fixes_is_an_error_and_not_a_silence() -> None:
    with NetNs("gen", "t") as namespace, Ethtool(namespace) as ethtool:
        assert ethtool.features("lo")["loopback"]
        with pytest.raises(KernelError, match=r"gen/lo.*the driver keeps loopback on"):
            ethtool.set_features("lo", {"loopback": False})


@pytest.mark.system
def test_ipv6_addresses_answer_without_duplicate_detection() -> None:
    a = dataclasses.replace(A, addresses=("fd00::10/64",))
    b = dataclasses.replace(B, addresses=("fd00::20/64",))
    for _ in range(10):  # the kernel adds the local route at its leisure
        with (
            NetNs("gen", "t", ipv6=True) as gen,
            NetNs("dut", "t", ipv6=True) as dut,
            VethPair(VethSpec(a, b), gen, dut),
            dut.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver,
            gen.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
        ):
            receiver.settimeout(2)
            receiver.bind(("fd00::20", 7))  # EADDRNOTAVAIL while an address is tentative
            sender.sendto(b"six", ("fd00::20", 7))
            assert receiver.recv(10) == b"six"
