# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A veth pair made for exact counts: no offloads, no IPv6, neighbours pinned: only our frames move."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from labs.harness.ethtool import Ethtool
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

MAX_NAME = 15  # IFNAMSIZ - 1, include/uapi/linux/if.h
MIN_MTU = 68  # ETH_MIN_MTU, include/uapi/linux/if_ether.h
MAX_MTU = 65535  # ETH_MAX_MTU
MAX_QUEUES = 4096  # rtnl_create_link() in net/core/rtnetlink.c refuses more
OPERATIONAL_TIMEOUT_S = 2.0
LINK_GROUP = 0x786C  # "xl": all our links of a namespace can be removed at once
NUD_PERMANENT = 0x80  # include/uapi/linux/neighbour.h
RTN_LOCAL = 2  # include/uapi/linux/rtnetlink.h
IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h

_name_pattern = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")
_mac_pattern = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

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
    """

    node: str
    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    gro: bool = False

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


class VethPair:
    """A pair in the kernel, both ends up; a context manager.

    Args:
        spec: what to create.
        a, b: the namespaces of the two ends.
        netlink: open netlink sockets by namespace role, to be reused by who builds several pairs.

    Raises:
        KernelError: a name is taken (EEXIST), or the kernel refuses otherwise.
    """

    def __init__(
        self, spec: VethSpec, a: NetNs, b: NetNs, *, netlink: dict[str, IPRoute] | None = None
    ) -> None:
        self.spec = spec
        self.namespaces = (a, b)
        self._index = -1
        with contextlib.ExitStack() as undo, _sockets(a, b, netlink) as (route_a, route_b):
            with kernel_errors("create veth pair", spec.title, "choose other names, or remove what has them"):
                route_a.link(
                    "add",
                    ifname=spec.a.name,
                    kind="veth",
                    address=spec.a.mac,
                    mtu=spec.mtu,
                    num_tx_queues=spec.queues,
                    num_rx_queues=spec.queues,
                    group=LINK_GROUP,
                    peer={
                        "ifname": spec.b.name,
                        "address": spec.b.mac,
                        "mtu": spec.mtu,
                        "num_tx_queues": spec.queues,
                        "num_rx_queues": spec.queues,
                        "group": LINK_GROUP,
                        "net_ns_fd": b.fd,
                    },
                )
            self._index = a.interface_index(spec.a.name)
            undo.callback(self.close)
            sides = (_Side(spec.a, a, route_a), _Side(spec.b, b, route_b))
            for side in sides:
                side.bring_up(spec)
            for side in sides:
                side.await_operational()
            # Only now: an IPv6 address waits for its link, and frames sent in that time are lost.
            for side in sides:
                side.add_addresses()
                if spec.pin_neighbours:
                    side.pin_neighbours(spec.other(side.end))
            undo.pop_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._index < 0

    def await_operational(self) -> None:
        """Wait until frames pass again, after an end was taken down and up.

        Raises:
            KernelError: not within 2 s (ETIMEDOUT).
        """
        a, b = self.namespaces
        with _sockets(a, b, None) as (route_a, route_b):
            _Side(self.spec.a, a, route_a).await_operational()
            _Side(self.spec.b, b, route_b).await_operational()

    def close(self) -> None:
        """Remove both ends, done when it returns. Idempotent; fine if they are gone already."""
        index, self._index = self._index, -1
        if index < 0 or self.namespaces[0].closed:
            return
        with (
            contextlib.closing(self.namespaces[0].netlink()) as route,
            kernel_errors("remove veth pair", self.spec.title, allowed=errno.ENODEV),
        ):
            route.link("del", index=index)

    def forget(self) -> None:
        """Take note that the links are gone: `close` has nothing to do any more."""
        self._index = -1

    def __enter__(self) -> VethPair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def close_pairs(pairs: Sequence[VethPair]) -> None:
    """Remove several pairs, done when it returns; a namespace that several are in loses them in one request.

    Each request waits for a grace period of the kernel, 15 to 30 ms, whether it removes one link or all.
    Idempotent.
    """
    left = [pair for pair in pairs if not pair.closed]
    while left:
        namespaces = [namespace for pair in left for namespace in pair.namespaces]
        busiest = max(namespaces, key=namespaces.count)
        if busiest.closed or namespaces.count(busiest) == 1:
            left.pop().close()
            continue
        with (
            contextlib.closing(busiest.netlink()) as route,
            kernel_errors("remove veth pairs", busiest.role, allowed=errno.ENODEV),
        ):
            route.link("del", group=LINK_GROUP)
        for pair in left:
            if busiest in pair.namespaces:
                pair.forget()
        left = [pair for pair in left if not pair.closed]


class _Side:
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
        deadline = time.monotonic() + OPERATIONAL_TIMEOUT_S
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


@contextlib.contextmanager
def _sockets(a: NetNs, b: NetNs, given: dict[str, IPRoute] | None) -> Iterator[tuple[IPRoute, IPRoute]]:
    """The netlink sockets of both namespaces: those given, or own ones for the duration."""
    if given is not None:
        yield given[a.role], given[b.role]
        return
    with contextlib.ExitStack() as undo:
        yield (
            undo.enter_context(contextlib.closing(a.netlink())),
            undo.enter_context(contextlib.closing(b.netlink())),
        )


@contextlib.contextmanager
def kernel_errors(operation: str, subject: str, exists: str = "", allowed: int = 0) -> Iterator[None]:
    """Turn pyroute2's errors into ours."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if error.code != allowed:
            hint = exists if error.code == errno.EEXIST else ""
            raise KernelError(operation, subject, error.code, hint) from error
