# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each class of packet goes where `redirect_udp` documents it to go, over a real device, counted exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_Router_Alert, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from forwarder.spec import ForwarderSpec
from labs.harness.ledger import Ledger
from labs.harness.packets import PORT, datagram
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR
from labs.harness.traffic import TrafficPlan, TrafficReport

pytestmark = [pytest.mark.lab, pytest.mark.balance]
GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETHER = Ether(src=GEN.mac, dst=DUT.mac)
V4 = IP(src=GEN.ip, dst=DUT.ip)
V6 = IPv6(src="fd00::10", dst="fd00::20")
OURS = UDP(sport=40000, dport=PORT) / bytes(18)
EACH = 250

# What goes to the forwarder, and what goes to the host's stack, and in which class.
TAKEN: dict[str, Packet] = {
    "udp": datagram(),
    "ipv6": ETHER / V6 / OURS,
    "one vlan tag": ETHER / Dot1Q(vlan=7) / V4 / OURS,
    "two vlan tags": ETHER / Dot1Q(vlan=7, type=0x88A8) / Dot1Q(vlan=8) / V4 / OURS,
    "ip options": ETHER / IP(src=GEN.ip, dst=DUT.ip, options=[IPOption_Router_Alert()]) / OURS,
}
PASSED: dict[str, tuple[Packet, str]] = {
    "port 4243": (datagram(dport=4243), "other_port"),
    "arp reply": (ETHER / ARP(op=2, psrc=GEN.ip, pdst=DUT.ip, hwsrc=GEN.mac, hwdst=DUT.mac), "arp"),
    "icmp echo reply": (ETHER / V4 / ICMP(type=0) / bytes(18), "icmp"),
    "first fragment": (ETHER / fragment(V4 / UDP(dport=PORT) / bytes(1000), 512)[0], "fragment"),
    "last fragment": (ETHER / fragment(V4 / UDP(dport=PORT) / bytes(1000), 512)[-1], "fragment"),
    "ipv6 to another port": (ETHER / V6 / UDP(dport=4243) / bytes(18), "other_port"),
    "vlan tag and another port": (ETHER / Dot1Q(vlan=7) / V4 / UDP(dport=4243) / bytes(18), "other_port"),
    "unknown ethertype": (Ether(src=GEN.mac, dst=DUT.mac, type=0x88B5) / bytes(46), "other_ethertype"),
}


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", action="drop", check_owners=True)


def test_every_class_goes_where_it_is_documented_to_go(
    pipeline: Pipeline,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
    ledger: Callable[..., Ledger],
) -> None:
    """All classes at once, interleaved, so that one that is taken for another cannot hide."""
    # Without these sockets the stack would answer "port unreachable".
    other_port, reassembled = receiver("dut", 4243), receiver("dut", PORT)
    packets = [*TAKEN.values(), *(packet for packet, _ in PASSED.values())]
    expected: dict[str, int] = {"redirected": EACH * len(TAKEN)}
    for _, name in PASSED.values():
        expected[name] = expected.get(name, 0) + EACH
    sent = traffic(TrafficPlan(packets, count=EACH * len(packets), rate_pps=20_000, sequence=False))
    passed = {f"xdp/host_{name}" for name in expected if name != "redirected"}
    ledger(sent, delivered={"forwarder/dropped", *passed}).check()
    counted = {name: count for name, count in pipeline.program.counters().items() if count}
    assert counted == expected
    assert pipeline.forwarder is not None
    assert pipeline.forwarder.counters()["rx_packets"] == EACH * len(TAKEN)
    assert other_port.drain(0).count == EACH
    assert reassembled.drain(0).count == EACH, "the stack did not get both fragments of each datagram"
    assert pipeline.count()["dut0_tx_packets"] == 0, "the stack answered: the account would not be exact"
