# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A veth pair made for exact counts: no offloads, no IPv6, neighbours pinned: only our frames move."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from labs.harness.veth_end import VethEnd, bring_up
from labs.harness.veth_spec import VethSpec

if TYPE_CHECKING:
    from pyroute2 import IPRoute

LINK_GROUP = 0x786C  # "xl": all our links of a namespace can be removed at once


class VethPair:
    """A pair in the kernel, both ends up; a context manager.

    Args:
        spec: what to create.
        a, b: the namespaces of the two ends.
        netlink: open netlink sockets by namespace role, to be reused by who builds several pairs.

    Raises:
        KernelError: a name is taken (EEXIST), or the kernel refuses otherwise.
    """

    removable = True
    """Ends with its removal, and all of a namespace by one request."""

    def __init__(
        self, spec: VethSpec, a: NetNs, b: NetNs, *, netlink: dict[str, IPRoute] | None = None
    ) -> None:
        self.spec = spec
        self.namespaces = (a, b)
        self._index = -1
        with contextlib.ExitStack() as undo, sockets(a, b, netlink) as (route_a, route_b):
            with kernel_errors("create veth pair", spec.title, "choose other names, or remove what has them"):
                route_a.link(
                    "add",
                    ifname=spec.a.name,
                    kind="veth",
                    address=spec.a.mac,
                    mtu=spec.mtu,
                    num_tx_queues=spec.a.send_queues or spec.queues,
                    num_rx_queues=spec.queues,
                    group=LINK_GROUP,
                    peer={
                        "ifname": spec.b.name,
                        "address": spec.b.mac,
                        "mtu": spec.mtu,
                        "num_tx_queues": spec.b.send_queues or spec.queues,
                        "num_rx_queues": spec.queues,
                        "group": LINK_GROUP,
                        "net_ns_fd": b.fd,
                    },
                )
            self._index = a.interface_index(spec.a.name)
            undo.callback(self.close)
            bring_up((VethEnd(spec.a, a, route_a), VethEnd(spec.b, b, route_b)), spec)
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
        with sockets(a, b, None) as (route_a, route_b):
            VethEnd(self.spec.a, a, route_a).await_operational()
            VethEnd(self.spec.b, b, route_b).await_operational()

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
    for pair in pairs:
        if not pair.removable:
            pair.close()
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


@contextlib.contextmanager
def sockets(a: NetNs, b: NetNs, given: dict[str, IPRoute] | None) -> Iterator[tuple[IPRoute, IPRoute]]:
    """The netlink sockets of both namespaces: those given, or own ones for the duration."""
    if given is not None:
        yield given[a.role], given[b.role]
        return
    with contextlib.ExitStack() as undo:
        yield (
            undo.enter_context(contextlib.closing(a.netlink())),
            undo.enter_context(contextlib.closing(b.netlink())),
        )
