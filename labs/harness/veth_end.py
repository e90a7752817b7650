# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One end of a veth pair in the making: features, up, operational, addresses, neighbours."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labs.harness.ethtool import Ethtool
from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from labs.harness.patience import patient
from labs.harness.veth_spec import EndSpec, VethSpec
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

OPERATIONAL_TIMEOUT_S = 2.0
NUD_PERMANENT = 0x80  # include/uapi/linux/neighbour.h
RTN_LOCAL = 2  # include/uapi/linux/rtnetlink.h
IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h

# Partial checksums, super-frames, tags beside the frame: AF_XDP would see other bytes than a wire.
# Without checksum offload the kernel drops the others itself; they are named so that it is verified.
OFFLOADS = (
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-scatter-gather",
    "tx-scatter-gather-fraglist",
    "tx-tcp-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-accecn-segmentation",
    "tx-generic-segmentation",
    "tx-gre-segmentation",
    "tx-gre-csum-segmentation",
    "tx-ipxip4-segmentation",
    "tx-ipxip6-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "tx-sctp-segmentation",
    "tx-udp-segmentation",
    "tx-gso-list",
    "tx-vlan-hw-insert",
    "tx-vlan-stag-hw-insert",
    "rx-vlan-hw-parse",
    "rx-vlan-stag-hw-parse",
)
RECEIVE_OFFLOADS = ("rx-gro", "rx-gro-list", "rx-udp-gro-forwarding")


class VethEnd:
    """One end in the making: its spec, its namespace, and the netlink socket there."""

    def __init__(self, end: EndSpec, namespace: NetNs, route: IPRoute) -> None:
        self.end = end
        self.where = f"{end.node}/{end.name}"
        self._namespace = namespace
        self._route = route
        self._index = namespace.interface_index(end.name)

    def bring_up(self, spec: VethSpec) -> None:
        """Set the features while the device is down, which is cheaper, then bring it up."""
        with Ethtool(self._namespace) as ethtool:
            wanted = {} if spec.offloads else dict.fromkeys(OFFLOADS, False)
            wanted |= dict.fromkeys(RECEIVE_OFFLOADS, False) | {"rx-gro": self.end.gro}
            ethtool.set_features(self.end.name, wanted)
        with kernel_errors("bring interface up", self.where):
            self._route.link("set", index=self._index, state="up")

    def await_operational(self) -> None:
        """Wait until frames pass: "up" returns before the link watcher has given the device its queues.

        Until then the device swallows every frame without an error or a count (noop_qdisc). Asking for the
        link makes recent kernels do the watcher's work at once (linkwatch_sync_dev).
        """

        def state() -> str:
            return str(self._route.link("get", index=self._index)[0].get_attr("IFLA_OPERSTATE"))

        self._await("bring interface up", state, "UP")

    def add_addresses(self) -> None:
        """Add them, and wait until they take packets: for IPv6 the kernel adds the local route later."""
        for interface in self.end.interfaces:
            if interface.version == 6 and not self._namespace.ipv6:
                raise InputError(f"{self.where} has address {interface}: set ipv6=True for its node")
            with kernel_errors("add address", f"{interface} to {self.where}"):
                self._route.addr(
                    "add",
                    index=self._index,
                    address=str(interface.ip),
                    prefixlen=interface.network.prefixlen,
                    **({"flags": IFA_F_NODAD} if interface.version == 6 else {}),
                )
            if interface.version == 6:
                self._await_local_route(str(interface.ip))

    def _await_local_route(self, address: str) -> None:
        def route_type() -> int:
            try:
                return int(self._route.route("get", dst=address)[0]["type"])
            except NetlinkError:
                return 0

        from pyroute2.netlink.exceptions import NetlinkError

        self._await(f"use address {address}", route_type, RTN_LOCAL)

    def _await(self, operation: str, read: Callable[[], object], wanted: object) -> None:
        deadline = time.monotonic() + patient(OPERATIONAL_TIMEOUT_S)
        while True:
            with kernel_errors(operation, self.where):
                state = read()
            if state == wanted:
                return
            if time.monotonic() > deadline:
                hint = f"state is {state}, not {wanted}, after {OPERATIONAL_TIMEOUT_S:g} s"
                raise KernelError(operation, self.where, errno.ETIMEDOUT, hint)
            time.sleep(0.0005)

    def pin_neighbours(self, other: EndSpec) -> None:
        """Enter the other end's addresses for good, so that nobody asks for them."""
        for neighbour in other.interfaces:
            if neighbour.version == 6 and not self._namespace.ipv6:
                continue
            with kernel_errors("pin neighbour", f"{neighbour.ip} on {self.where}"):
                self._route.neigh(
                    "replace",
                    dst=str(neighbour.ip),
                    lladdr=other.mac,
                    ifindex=self._index,
                    state=NUD_PERMANENT,
                )


def bring_up(ends: Sequence[VethEnd], spec: VethSpec) -> None:
    """Bring both ends up, wait until frames pass, then add addresses and neighbours.

    In this order, as an IPv6 address waits for its link, and frames sent in that time are lost.
    """
    for end in ends:
        end.bring_up(spec)
    for end in ends:
        end.await_operational()
    for end in ends:
        end.add_addresses()
        if spec.pin_neighbours:
            end.pin_neighbours(spec.other(end.end))
