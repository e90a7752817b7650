# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Packets between the ends of a topology, with the addresses that the ends have.

Scapy fills in what is left out from the host's own routes, which do not lead into a lab: a packet with the
host's MAC address is answered to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs.harness.topology import PAIR
from labs.harness.veth_spec import EndSpec

if TYPE_CHECKING:
    from scapy.packet import Packet

PORT = 4242
SOURCE_PORT = 40000


def datagram(
    sender: EndSpec = PAIR.end("gen0"),  # noqa: B008 (a frozen constant)
    receiver: EndSpec = PAIR.end("dut0"),  # noqa: B008 (a frozen constant)
    *,
    sport: int = SOURCE_PORT,
    dport: int = PORT,
    payload: bytes = bytes(18),
) -> Packet:
    """An Ethernet frame with an IPv4 UDP datagram: 60 bytes with the default payload."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    ether = Ether(src=sender.mac, dst=receiver.mac)
    return ether / IP(src=sender.ip, dst=receiver.ip) / UDP(sport=sport, dport=dport) / payload
