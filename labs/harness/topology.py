# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Networks as data: a frozen spec of nodes and links, and the object that holds what was built from it."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from labs.harness.cable import CableSpec, NicPair
from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from labs.harness.runs import new_run_id
from labs.harness.veth import VethPair, close_pairs
from labs.harness.veth_spec import EndSpec, VethSpec
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    from pyroute2 import IPRoute


@dataclass(frozen=True)
class RouteSpec:
    """A static route: "192.168.2.0/24" by way of "192.168.1.20"."""

    destination: str
    via: str

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_network(self.destination)
            ipaddress.ip_address(self.via)
        except ValueError as error:
            raise InputError(f"route {self.destination} via {self.via}: {error}") from None


@dataclass(frozen=True)
class NodeSpec:
    """A namespace of the topology.

    Attributes:
        role: its name within the topology.
        ipv6: keep IPv6 there.
        routes: static routes, added when all links are up.
        sysctls: pairs of path below /proc/sys and value.
    """

    role: str
    ipv6: bool = False
    routes: tuple[RouteSpec, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TopologySpec:
    """Nodes and the veth pairs (or cables) between them; printable, comparable, saved in results."""

    name: str
    nodes: tuple[NodeSpec, ...]
    links: tuple[VethSpec, ...]

    def __post_init__(self) -> None:
        roles = [node.role for node in self.nodes]
        if len(set(roles)) != len(roles):
            raise InputError(f"topology {self.name}: two nodes have the same role; give each its own")
        names = [end.name for end in self.ends]
        if len(set(names)) != len(names):
            raise InputError(f"topology {self.name}: two interfaces have the same name; give each its own")
        for end in self.ends:
            if end.node not in roles:
                raise InputError(
                    f"topology {self.name}: {end.name} is in {end.node!r}, which is no node of it"
                )

    @property
    def ends(self) -> tuple[EndSpec, ...]:
        """All interfaces, link by link."""
        return tuple(end for link in self.links for end in link.ends)

    def end(self, interface: str) -> EndSpec:
        """An interface by name.

        Raises:
            InputError: there is none of that name.
        """
        for end in self.ends:
            if end.name == interface:
                return end
        names = ", ".join(end.name for end in self.ends)
        raise InputError(f"topology {self.name} has no interface {interface!r}; it has {names}")

    def with_links(self, **changes: Any) -> TopologySpec:
        """The same topology with every link changed: `PAIR.with_links(queues=2, mtu=3000)`."""
        return dataclasses.replace(
            self, links=tuple(dataclasses.replace(link, **changes) for link in self.links)
        )

    def with_end(self, interface: str, **changes: Any) -> TopologySpec:
        """The same topology with one interface changed: `PAIR.with_end("gen0", gro=True)`.

        Raises:
            InputError: there is none of that name.
        """
        old = self.end(interface)
        new = dataclasses.replace(old, **changes)
        links = (
            dataclasses.replace(link, a=new if link.a == old else link.a, b=new if link.b == old else link.b)
            for link in self.links
        )
        return dataclasses.replace(self, links=tuple(links))

    def to_dict(self) -> dict[str, Any]:
        """Only dicts, lists, strings and numbers: ready for JSON."""
        return {
            "name": self.name,
            "nodes": [_plain(dataclasses.asdict(node)) for node in self.nodes],
            "links": [_plain(dataclasses.asdict(link)) for link in self.links],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TopologySpec:
        """The inverse of `to_dict`.

        Raises:
            InputError: a field is missing, unknown or out of range.
        """
        try:
            nodes = tuple(
                NodeSpec(
                    **{
                        **node,
                        "routes": tuple(RouteSpec(**route) for route in node["routes"]),
                        "sysctls": tuple((key, value) for key, value in node["sysctls"]),
                    }
                )
                for node in data["nodes"]
            )
            links = tuple(_link_from_dict(link) for link in data["links"])
            return cls(data["name"], nodes, links)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"topology cannot be read: {error!r}") from None

    def __str__(self) -> str:
        lines = [f"topology {self.name}"]
        for link in self.links:
            ends = (f"{end.node}/{end.name} {' '.join(end.addresses)} {end.mac}" for end in link.ends)
            lines.append(f"  {' -- '.join(ends)}  mtu {link.mtu}, queues {link.queues}")
        return "\n".join(lines)


class Topology:
    """A spec in the kernel: namespaces by role, pairs in the order of the spec; a context manager."""

    def __init__(
        self, spec: TopologySpec, run: str, undo: contextlib.ExitStack, kept: tuple[Path, ...]
    ) -> None:
        self.spec = spec
        self.run = run
        self.kept = kept
        self.namespaces: dict[str, NetNs] = {}
        self.pairs: list[VethPair] = []
        self._undo = undo

    @classmethod
    def build(cls, spec: TopologySpec, *, run: str | None = None, keep: bool = False) -> Topology:
        """Create all of it, or nothing.

        Args:
            spec: what to build.
            run: id of the run, part of the names of kept namespaces; a fresh one by default.
            keep: pin the namespaces at /run/netns/xl-<run>-<role>, and leave all of it there at `close`.

        Raises:
            InputError, KernelError: as from `NetNs` and `VethPair`.
        """
        with contextlib.ExitStack() as undo:
            topology = cls(spec, run or new_run_id(), undo, ())
            topology._create(keep)
            topology._undo = undo.pop_all()
            return topology

    def __getitem__(self, role: str) -> NetNs:
        """The namespace of a role."""
        try:
            return self.namespaces[role]
        except KeyError:
            roles = ", ".join(self.namespaces)
            raise InputError(f"topology {self.spec.name} has no node {role!r}; it has {roles}") from None

    def namespace_of(self, interface: str) -> NetNs:
        """The namespace in which an interface of the spec lives."""
        return self[self.spec.end(interface).node]

    def close(self) -> None:
        """Remove links and let go of the namespaces, last in first out; kept ones stay. Idempotent."""
        self._undo.close()

    def __enter__(self) -> Topology:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self, keep: bool) -> None:
        routes: dict[str, IPRoute] = {}
        with contextlib.ExitStack() as sockets:
            for node in self.spec.nodes:
                namespace = NetNs(node.role, self.run, ipv6=node.ipv6, sysctls=dict(node.sysctls))
                self._undo.callback(namespace.close)
                self.namespaces[node.role] = namespace
                routes[node.role] = sockets.enter_context(contextlib.closing(namespace.netlink()))
            # A kept topology must outlive us; others go at once, not when the kernel gets round to it.
            if not keep:
                self._undo.callback(close_pairs, self.pairs)
            for link in self.spec.links:
                self.pairs.append(_join(link, self[link.a.node], self[link.b.node], routes))
            for node in self.spec.nodes:
                for route in node.routes:
                    _add_route(node, route, routes[node.role])
        if keep:
            with contextlib.ExitStack() as pins:
                for namespace in self.namespaces.values():
                    pins.callback(namespace.unpin)
                    namespace.pin()
                pins.pop_all()
            self.kept = tuple(namespace.keep() for namespace in self.namespaces.values())


def _join(link: VethSpec, a: NetNs, b: NetNs, routes: dict[str, IPRoute]) -> VethPair:
    if isinstance(link, CableSpec):
        return NicPair(link, a, b, netlink=routes)
    return VethPair(link, a, b, netlink=routes)


def _add_route(node: NodeSpec, route: RouteSpec, netlink: IPRoute) -> None:
    with kernel_errors("add route", f"{route.destination} via {route.via} in {node.role}"):
        netlink.route("add", dst=route.destination, gateway=route.via)


def _link_from_dict(data: Mapping[str, Any]) -> VethSpec:
    values = {**data, **{side: _end_from_dict(data[side]) for side in ("a", "b")}}
    if "devices" in values:
        return CableSpec(**{**values, "devices": tuple(values["devices"])})
    return VethSpec(**values)


def _end_from_dict(data: Mapping[str, Any]) -> EndSpec:
    return EndSpec(**{**data, "addresses": tuple(data["addresses"])})


def _plain(value: Any) -> Any:
    """Tuples become lists, so that a spec equals itself after a trip through JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


# MAC addresses spell the IPv4 address: 02:00, then its four bytes.
PAIR = TopologySpec(
    "pair",
    (NodeSpec("gen"), NodeSpec("dut")),
    (
        VethSpec(
            EndSpec("gen", "gen0", "02:00:c0:a8:01:0a", ("192.168.1.10/24",)),
            EndSpec("dut", "dut0", "02:00:c0:a8:01:14", ("192.168.1.20/24",)),
        ),
    ),
)

# The same with two network cards that a cable joins (`xdplab vm run --nic virtio --nic virtio,iommu`).
CABLE = TopologySpec(
    "cable",
    PAIR.nodes,
    tuple(CableSpec(link.a, link.b, devices=("eth0", "eth1")) for link in PAIR.links),
)

CHAIN = TopologySpec(
    "chain",
    (
        NodeSpec("gen", routes=(RouteSpec("192.168.2.0/24", "192.168.1.20"),)),
        NodeSpec("dut"),
        NodeSpec("sink", routes=(RouteSpec("192.168.1.0/24", "192.168.2.20"),)),
    ),
    (
        VethSpec(
            EndSpec("gen", "gen0", "02:00:c0:a8:01:0a", ("192.168.1.10/24",)),
            EndSpec("dut", "dut0", "02:00:c0:a8:01:14", ("192.168.1.20/24",)),
        ),
        VethSpec(
            EndSpec("dut", "dut1", "02:00:c0:a8:02:14", ("192.168.2.20/24",)),
            EndSpec("sink", "sink0", "02:00:c0:a8:02:0a", ("192.168.2.10/24",)),
        ),
    ),
)
