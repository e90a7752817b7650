# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Veth pairs as data: two ends with names, addresses and settings, checked when they are made."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from xdp.pyxdp.errors import InputError

MAX_NAME = 15  # IFNAMSIZ - 1, include/uapi/linux/if.h
MIN_MTU = 68  # ETH_MIN_MTU, include/uapi/linux/if_ether.h
MAX_MTU = 65535  # ETH_MAX_MTU
MAX_QUEUES = 4096  # rtnl_create_link() in net/core/rtnetlink.c refuses more

_name_pattern = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")
_mac_pattern = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class EndSpec:
    """One end of a pair.

    Attributes:
        node: the role of the namespace in which it lives.
        name: interface name, at most 15 characters.
        mac: Ethernet address, lower case.
        addresses: with prefix length, "192.168.1.10/24".
        gro: leave generic receive offload on. The end then receives through NAPI even without an XDP program,
            which frames sent into it by XDP need; it also merges frames, so it is off by default.
        send_queues: how many queues this end sends on; 0 for all of the pair. Which flow gets which queue is
            drawn anew at each start of the machine; with 1 all packets arrive on the other end's queue 0.
    """

    node: str
    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    gro: bool = False
    send_queues: int = 0

    def __post_init__(self) -> None:
        if not _name_pattern.fullmatch(self.name) or self.name in (".", ".."):
            raise InputError(
                f"interface name {self.name!r}: use 1 to {MAX_NAME} of letters, digits, '_', '.', '-'"
            )
        if not _mac_pattern.fullmatch(self.mac):
            raise InputError(
                f"MAC address {self.mac!r} of {self.name}: write it as 02:00:00:00:00:01, lower case"
            )
        if int(self.mac[:2], 16) & 1 or self.mac == "00:00:00:00:00:00":
            raise InputError(f"MAC address {self.mac} of {self.name} is multicast or zero: use one like 02:…")
        for address in self.addresses:
            try:
                ipaddress.ip_interface(address)
            except ValueError as error:
                raise InputError(f"address of {self.name}: {error}; write it as 192.168.1.10/24") from None

    @property
    def interfaces(self) -> tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]:
        """The addresses, parsed."""
        return tuple(ipaddress.ip_interface(address) for address in self.addresses)

    @property
    def ip(self) -> str:
        """The first address, without prefix length.

        Raises:
            InputError: this end has no address.
        """
        if not self.addresses:
            raise InputError(f"interface {self.name} has no address: give it one in the spec")
        return str(self.interfaces[0].ip)


@dataclass(frozen=True)
class VethSpec:
    """A pair of ends and what both have in common.

    Attributes:
        a, b: the ends.
        queues: transmit and receive queues of each end, equal: AF_XDP TX on queue N arrives on queue N.
        mtu: of both ends, bytes.
        offloads: leave checksum, segmentation and VLAN offloads as the kernel has them.
        pin_neighbours: permanent neighbour entries for the other end's addresses, so that no ARP is seen.
    """

    a: EndSpec
    b: EndSpec
    queues: int = 1
    mtu: int = 1500
    offloads: bool = False
    pin_neighbours: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.queues <= MAX_QUEUES:
            raise InputError(f"{self.queues} queues for {self.title}: use 1 to {MAX_QUEUES}")
        for end in self.ends:
            if not 0 <= end.send_queues <= self.queues:
                raise InputError(
                    f"{end.name} cannot send on {end.send_queues} queues: {self.title} has {self.queues}"
                )
        if not MIN_MTU <= self.mtu <= MAX_MTU:
            raise InputError(f"MTU {self.mtu} for {self.title}: use {MIN_MTU} to {MAX_MTU} bytes")
        if self.a.node == self.b.node and self.a.name == self.b.name:
            raise InputError(f"both ends are named {self.a.name} in {self.a.node}: give them different names")
        if self.a.mac == self.b.mac:
            raise InputError(
                f"both ends of {self.title} have the MAC address {self.a.mac}: give each its own"
            )

    @property
    def title(self) -> str:
        """The pair in messages."""
        return f"{self.a.name}-{self.b.name}"

    @property
    def ends(self) -> tuple[EndSpec, EndSpec]:
        """Both ends, a first."""
        return (self.a, self.b)

    def other(self, end: EndSpec) -> EndSpec:
        """The end opposite to `end`."""
        return self.b if end == self.a else self.a
