# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the DUT's stack does to packets that the program passed is named by the kernel, to the packet."""

from __future__ import annotations

import dataclasses
import socket
from collections import Counter
from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from forwarder.spec import ForwarderSpec
from labs.harness.ledger import Ledger
from labs.harness.netns import NetNs
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, NodeSpec, TopologySpec
from labs.harness.traffic import TrafficPlan, TrafficReport
from xdp.pyxdp.errors import InputError
from xdp.watch import DROPS, Watch
from xdp.watch_names import known

pytestmark = [pytest.mark.lab, pytest.mark.balance]
GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETHER, V4 = Ether(src=GEN.mac, dst=DUT.mac), IP(src=GEN.ip, dst=DUT.ip)
OTHER = UDP(sport=40000, dport=4243) / bytes(18)
EACH = 250

# Packet, the program's class, the kernel's reason.
DROPPED: dict[str, tuple[Packet, str, str]] = {
    "no socket on the port": (ETHER / V4 / OTHER, "other_port", "NO_SOCKET"),
    "another's MAC": (Ether(src=GEN.mac, dst="02:00:00:00:00:99") / V4 / OTHER, "other_port", "OTHERHOST"),
    "bad UDP checksum": (
        ETHER / V4 / UDP(sport=40000, dport=4243, chksum=0x1234) / bytes(18),
        "other_port",
        "UDP_CSUM",
    ),
    "bad IP checksum": (ETHER / IP(src=GEN.ip, dst=DUT.ip, chksum=0x1234) / OTHER, "other_port", "IP_CSUM"),
    "source from elsewhere": (ETHER / IP(src="10.9.8.7", dst=DUT.ip) / OTHER, "other_port", "IP_RPFILTER"),
    "loopback as source": (ETHER / IP(src="127.0.0.1", dst=DUT.ip) / OTHER, "other_port", "IP_LOCALNET"),
    "foreign protocol": (
        ETHER / IP(src=GEN.ip, dst=DUT.ip, proto=253) / bytes(26),
        "other_protocol",
        "IP_NOPROTO",
    ),
    "unknown ethertype": (
        Ether(src=GEN.mac, dst=DUT.mac, type=0x88B5) / bytes(46),
        "other_ethertype",
        "UNHANDLED_PROTO",
    ),
    "tag of no VLAN of ours": (ETHER / Dot1Q(vlan=7) / V4 / OTHER, "other_port", "OTHERHOST"),
}


@pytest.fixture
def topology_spec() -> TopologySpec:
    """Strict reverse path filter in the DUT, and no ICMP errors, which would be traffic of their own."""
    # A peer begins with a minute's worth of tokens (inet_getpeer()), which is less than one error costs now.
    settings = (("net/ipv4/conf/all/rp_filter", "1"), ("net/ipv4/icmp_ratelimit", "100000000"))
    return dataclasses.replace(PAIR, nodes=(NodeSpec("gen"), NodeSpec("dut", sysctls=settings)))


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", action="drop", check_owners=True)


@pytest.mark.parametrize("name", DROPPED)
def test_the_kernel_names_why_its_stack_dropped_what_it_got(
    name: str, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
) -> None:
    packet, frame_class, reason = DROPPED[name]
    sent = traffic(TrafficPlan(packet, count=EACH, rate_pps=20_000, sequence=False))
    made = ledger(sent, delivered={f"xdp/host_{frame_class}"})
    made.check()
    assert made.fates()[f"xdp/host_{frame_class}"] == EACH
    (causes,) = made.causes
    assert (causes.fates, causes.reasons) == ((f"xdp/host_{frame_class}",), {known(reason): EACH})


def test_what_the_stack_takes_has_no_reason(
    traffic: Callable[..., TrafficReport], receiver: Callable[..., Receiver], ledger: Callable[..., Ledger]
) -> None:
    host = receiver("dut", 4243)
    sent = traffic(TrafficPlan(ETHER / V4 / OTHER, count=EACH, rate_pps=20_000))
    made = ledger(sent, delivered={"xdp/host_other_port"})
    made.check()
    assert made.causes == ()
    assert host.drain(0).count == EACH


def test_reasons_of_several_classes_stand_with_all_of_them(
    traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
) -> None:
    """Which class a dropped packet was of the kernel does not say."""
    packets = [ETHER / V4 / OTHER, Ether(src=GEN.mac, dst=DUT.mac, type=0x88B5) / bytes(46)]
    made = ledger(traffic(TrafficPlan(packets, count=2 * EACH, rate_pps=20_000)))
    (causes,) = made.causes
    assert causes.fates == ("xdp/host_other_port", "xdp/host_other_ethertype")
    assert causes.reasons == Counter([known("NO_SOCKET"), known("UNHANDLED_PROTO")] * EACH)


class TestReceiver:
    """The stack behind the receiver's device is the last hop, and it drops by name as well."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", check_owners=True)

    def test_a_reply_that_the_receivers_stack_drops_ends_there_by_its_name(
        self,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
        ledger: Callable[..., Ledger],
    ) -> None:
        """The checksum was wrong when it was sent; echo looks at none, gen's stack does."""
        replies = receiver("gen", 40000)
        good, bad = (
            ETHER / V4 / UDP(sport=40000, dport=4242, **more) / bytes(18) for more in ({}, {"chksum": 1})
        )
        sent = traffic(TrafficPlan([good, bad, bad], count=3 * EACH, rate_pps=20_000))
        received = replies.drain(range(0, 3 * EACH, 3))
        ledger(sent, received, expected={f"egress/{known('UDP_CSUM')}": 2 * EACH}).check()
        assert received.unique == EACH


def test_drops_are_told_with_device_and_place(
    pipeline: Pipeline, traffic: Callable[..., TrafficReport]
) -> None:
    pipeline.count()
    traffic(TrafficPlan(ETHER / V4 / OTHER, count=10))
    watch = pipeline.drop_watch
    assert watch is not None
    (drop,) = watch.drops()
    assert (drop.namespace, drop.interface, drop.kind, drop.reason, drop.frames) == (
        "dut",
        "dut0",
        "skb",
        known("NO_SOCKET"),
        10,
    )
    assert drop.ifindex == pipeline.dut.interface_index("dut0")
    # The function has another name since some Linux 7; "" where /proc/kallsyms is hidden.
    assert drop.place in ("", "__udp4_lib_rcv", "udp_rcv")
    assert watch.missed == 0


def test_drops_in_a_namespace_that_is_not_watched_are_not_counted(netns: Callable[[str], NetNs]) -> None:
    mine, others = netns("mine"), netns("others")
    with Watch({"mine": mine.inode}, DROPS) as watch:
        for namespace in (mine, others):
            with namespace.entered(), socket.socket(type=socket.SOCK_DGRAM) as out:
                for _ in range(7):
                    out.sendto(b"to nobody", ("127.0.0.1", 4000))
        assert watch.counts() == {("mine", "lo", "skb", known("NO_SOCKET")): 7}


def test_a_closed_watch_counts_no_more_and_says_so(netns: Callable[[str], NetNs]) -> None:
    watch = Watch({"mine": netns("mine").inode}, DROPS)
    watch.close()
    watch.close()
    with pytest.raises(InputError, match="closed"):
        watch.counts()
