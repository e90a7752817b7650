# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Addresses as people write them, and as the system knows them of a device and its neighbours."""

from __future__ import annotations

import ipaddress
import re

from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
REACHABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # NUD_*: all in which the address is known, linux/neighbour.h


def endpoint(text: str, port: int) -> tuple[IPAddress, int]:
    """An address and a port from "10.0.0.1", "10.0.0.1:4242", "fd00::1" or "[fd00::1]:4242".

    Raises:
        InputError: not of this form, or the port is none.
    """
    match = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.+)", text)
    address = text if match is None else (match[1] or match[3] or match[5])
    given = None if match is None else (match[2] or match[4])
    number = int(given) if given else port
    if not 1 <= number <= 65535:
        raise InputError(f"port {number} of {text}: use 1 to 65535")
    try:
        return ipaddress.ip_address(address), number
    except ValueError:
        raise InputError(f"{text!r} is no address: write it as 192.168.1.20:4242 or [fd00::1]:4242") from None


def own_addresses(namespace: NetNs, interface: str, version: int) -> tuple[str, IPAddress | None]:
    """A device's MAC address, and its first IP address of a version, if it has one."""
    index = namespace.interface_index(interface)
    route = namespace.netlink()
    try:
        mac = route.link("get", index=index)[0].get_attr("IFLA_ADDRESS")
        for one in route.get_addr(family=2 if version == 4 else 10, index=index):
            return mac, ipaddress.ip_address(one.get_attr("IFA_ADDRESS"))
    finally:
        route.close()
    return mac, None


def neighbour(namespace: NetNs, interface: str, address: IPAddress) -> str | None:
    """The MAC address that the neighbour table has for an address on a device."""
    index = namespace.interface_index(interface)
    route = namespace.netlink()
    try:
        for one in route.get_neighbours(family=2 if address.version == 4 else 10, ifindex=index):
            if one.get_attr("NDA_DST") == str(address) and one["state"] & REACHABLE:
                return str(one.get_attr("NDA_LLADDR"))
    finally:
        route.close()
    return None
