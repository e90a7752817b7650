# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two network cards that are joined already: by a cable, or in a guest on one hub. Borrowed, and given back.

Both move into the namespaces of a topology and take the names, addresses, queues and settings of its ends, as
a veth pair would have them; at the end they move back with the names and queues that they had. If we die the
kernel moves them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs.harness.ethtool import Channels, Ethtool
from labs.harness.existing_ns import ExistingNs
from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from labs.harness.veth import VethPair, sockets
from labs.harness.veth_end import VethEnd, bring_up
from labs.harness.veth_spec import VethSpec
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

QUEUE = "pfifo"  # drops only what finds no room, and says so to the sender
QUEUE_FRAMES = 1000


@dataclass(frozen=True)
class CableSpec(VethSpec):
    """As a `VethSpec`, of devices that are there.

    Attributes:
        devices: what the two ends are called in the caller's namespace before, a first; the cable joins them.
    """

    devices: tuple[str, str] = ("eth0", "eth1")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.devices)) != 2:
            raise InputError(f"cable {self.title}: name two devices, not {' and '.join(self.devices)}")


@dataclass(frozen=True)
class _Before:
    """A device as it was."""

    name: str
    mac: str
    mtu: int
    channels: Channels | None = None


class NicPair(VethPair):
    """Two cards in two namespaces, both up; a context manager that gives them back.

    Args:
        spec: what to borrow.
        a, b: the namespaces of the two ends.
        netlink: open netlink sockets by namespace role.

    Raises:
        InputError: there is no such device here.
        KernelError: the kernel refused a step.
    """

    removable = False

    def __init__(
        self, spec: CableSpec, a: NetNs, b: NetNs, *, netlink: dict[str, IPRoute] | None = None
    ) -> None:
        self.spec = spec
        self.namespaces = (a, b)
        self._index = 0
        self._lent: list[tuple[NetNs, str, _Before]] = []
        with contextlib.ExitStack() as undo, sockets(a, b, netlink) as (route_a, route_b):
            self._home = ExistingNs()
            undo.callback(self.close)
            sides = []
            for device, end, namespace, route in zip(
                spec.devices, spec.ends, (a, b), (route_a, route_b), strict=True
            ):
                self._borrow(device, end.name, namespace, end.send_queues or spec.queues)
                with kernel_errors("set up device", end.name):
                    index = namespace.interface_index(end.name)
                    route.link("set", index=index, address=end.mac, mtu=spec.mtu)
                sides.append(VethEnd(end, namespace, route))
            bring_up(sides, spec)
            for end, namespace, route in zip(spec.ends, (a, b), (route_a, route_b), strict=True):
                # The default may drop what has waited (fq_codel); a veth has no queue. The move back ends it.
                with kernel_errors("set queue", end.name):
                    route.tc("replace", QUEUE, namespace.interface_index(end.name), limit=QUEUE_FRAMES)
            undo.pop_all()

    def close(self) -> None:
        """Give the devices back, as they were. Idempotent."""
        self._index = -1
        while self._lent:
            namespace, name, before = self._lent.pop()
            if not namespace.closed:
                _move(namespace, name, self._home, before)
                if before.channels is not None:
                    _set_channels(self._home, before.name, before.channels.now)
        self._home.close()

    def _borrow(self, device: str, name: str, namespace: NetNs, queues: int) -> None:
        with contextlib.closing(self._home.netlink()) as route:
            try:
                link = route.link("get", index=self._home.interface_index(device))[0]
            except InputError:
                here = ", ".join(found for _, found in socket.if_nameindex())
                raise InputError(
                    f"no device {device!r} for {name} in this namespace; there is {here}"
                ) from None
            before = _Before(device, link.get_attr("IFLA_ADDRESS"), link.get_attr("IFLA_MTU"))
        with Ethtool(self._home) as ethtool:
            channels = ethtool.channels(device)
        _move(self._home, device, namespace, _Before(name, before.mac, before.mtu))
        self._lent.append((namespace, name, dataclasses.replace(before, channels=channels)))
        _use_queues(namespace, name, device, channels, queues)


def _use_queues(namespace: NetNs, name: str, device: str, channels: Channels | None, wanted: int) -> None:
    most = max(1, *channels.most[:2], channels.most[3]) if channels is not None else 1
    if wanted > most:
        raise InputError(
            f"{device} has {most} queue(s), not {wanted}; in a guest: --nic virtio,queues={wanted}"
        )
    if channels is not None:
        _set_channels(namespace, name, channels.with_queues(wanted))


def _set_channels(namespace: NetNs, name: str, wanted: tuple[int, ...]) -> None:
    with Ethtool(namespace) as ethtool:
        now = ethtool.channels(name)
        if now is not None and now.now != wanted:
            ethtool.set_channels(name, wanted)


def _move(here: NetNs, device: str, there: NetNs, wanted: _Before) -> None:
    """Into another namespace, down, with another name, address and MTU; its addresses and routes are lost."""
    with (
        contextlib.closing(here.netlink()) as route,
        kernel_errors("move device", f"{device} to {there.role}", allowed=errno.ENODEV),
    ):
        index = here.interface_index(device)
        route.link("set", index=index, state="down")
        route.link("set", index=index, ifname=wanted.name, address=wanted.mac, mtu=wanted.mtu)
        route.link("set", index=index, net_ns_fd=there.fd)
