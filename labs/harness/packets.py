# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""UDP datagrams with every address given: between the ends of a topology, or of a given size.

Scapy fills in what is left out from the host's own routes, which do not lead into a lab: a packet with the
host's MAC address is answered to nobody.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from labs.harness.topology import PAIR
from labs.harness.veth_spec import EndSpec
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    from scapy.packet import Packet

    from labs.harness.addresses import IPAddress

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
    source, target = ipaddress.ip_address(sender.ip), ipaddress.ip_address(receiver.ip)
    return udp_packet(sender.mac, receiver.mac, source, target, sport, dport) / payload


def padded(headers: Packet, size: int) -> bytes:
    """A frame of `size` bytes with these headers; its payload counts up from 0.

    Raises:
        InputError: the headers alone are longer.
    """
    room = size - len(bytes(headers))
    if room < 0:
        raise InputError(f"a frame of {size} bytes has no room for its headers of {size - room} bytes")
    return bytes(headers / bytes(i % 256 for i in range(room)))


def udp_packet(
    src_mac: str,
    dst_mac: str,
    source: IPAddress,
    target: IPAddress,
    sport: int,
    dport: int,
    vlan: int | None = None,
) -> Packet:
    """The headers, to which a payload is added by `/`; IPv4 or IPv6 by the addresses.

    Raises:
        InputError: a MAC address or the VLAN is none.
    """
    for mac in (src_mac, dst_mac):
        if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", mac):
            raise InputError(f"{mac!r} is no MAC address: write it as 02:00:00:00:00:01")
    if vlan is not None and not 0 <= vlan <= 4095:
        raise InputError(f"VLAN {vlan}: use 0 to 4095")
    # Not scapy.all, which takes a second; and none of it for `--help`.
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    packet = Ether(src=src_mac, dst=dst_mac)
    if vlan is not None:
        packet /= Dot1Q(vlan=vlan)
    if source.version == 4:
        packet /= IP(src=str(source), dst=str(target))
    else:
        from scapy.layers.inet6 import IPv6

        packet /= IPv6(src=str(source), dst=str(target))
    return packet / UDP(sport=sport, dport=dport)
