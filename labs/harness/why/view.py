# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The system while it is looked at: namespaces, devices, AF_XDP sockets, and those XSKMAPs that matter."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from labs.harness.ethtool import Ethtool
from labs.harness.why.links import LinkState, links, nsid
from labs.harness.why.namespaces import Namespaces
from xdp.pyxdp.errors import InputError, KernelError
from xdp.xsk_sockets import AllSockets
from xdp.xskmap import Reader, SocketInfo, XskMap
from xdp.xskmap_find import is_scratch


@dataclass(frozen=True)
class Target:
    """The device to look at: its name and the inode of its namespace."""

    netns: int
    ifindex: int


class View:
    """The system while it is looked at: namespaces, devices, sockets, XSKMAPs; a context manager.

    Args:
        places: what to call namespaces, by inode, where they have no name of `ip netns`.

    Raises:
        InputError, KernelError: not root, or the kernel cannot be asked (no BTF).
    """

    def __init__(self, places: Mapping[int, str] | None = None) -> None:
        self._places = dict(places or {})
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.namespaces = undo.enter_context(Namespaces())
            self.all_sockets = undo.enter_context(AllSockets())
            self._undo = undo.pop_all()
        self._readers: dict[int, Reader] = {}
        self._ethtool: dict[int, Ethtool] = {}
        self._scratch = functools.cache(is_scratch)
        self.refresh()

    def refresh(self) -> None:
        """Reads devices and sockets anew, and the maps that were read before."""
        self.links: dict[int, dict[int, LinkState]] = {}
        for inode, namespace in self.namespaces.by_inode.items():
            with contextlib.suppress(KernelError, TimeoutError):
                self.links[inode] = {one.ifindex: one for one in links(namespace)}
        self.maps: dict[int, XskMap] = {}
        self.sockets: dict[int, SocketInfo] = self.all_sockets.read()
        for map_id in self._readers:
            self._read(map_id)

    def need_map(self, map_id: int, *, must: bool = False) -> None:
        """Reads a map, now and with each `refresh`: its slots, and its sockets of processes that are hidden.

        A reader costs 30 ms, and a machine may have many maps: only those that matter are read.

        Raises:
            InputError: the map must exist, and does not, or is no XSKMAP.
        """
        if map_id in self._readers:
            return
        try:
            self._readers[map_id] = self._undo.enter_context(Reader(map_id=map_id, method="btf"))
        except InputError:  # gone since
            if must:
                raise
            return
        self._read(map_id)

    def _read(self, map_id: int) -> None:
        self.maps[map_id] = self._readers[map_id].read(with_owners=False)
        for info in self.maps[map_id].sockets.values():
            self.sockets.setdefault(info.inode, info)

    def slots(self, info: SocketInfo) -> list[tuple[int, int]]:
        """Map and slot of each entry that holds a socket, without maps that only serve to look."""
        return [(one.map_id, one.slot) for one in info.entries or () if not self._scratch(one.map_id)]

    def place(self, inode: int) -> str:
        """How people call a namespace."""
        namespace = self.namespaces.by_inode.get(inode)
        if inode in self._places:
            return self._places[inode]
        return namespace.place if namespace else f"net:[{inode}]"

    def link(self, target: Target) -> LinkState | None:
        """A device; None if it is gone."""
        return self.links.get(target.netns, {}).get(target.ifindex)

    def peer_of(self, target: Target) -> Target | None:
        """The other end of a veth, if its namespace is known."""
        state = self.link(target)
        if state is None or not state.peer_ifindex:
            return None
        if state.peer_nsid is None:
            return Target(target.netns, state.peer_ifindex)
        own = self.namespaces.by_inode[target.netns]
        for inode, devices in self.links.items():
            other = devices.get(state.peer_ifindex)
            # The back reference spares the question for most namespaces.
            if other is None or other.peer_ifindex != target.ifindex:
                continue
            if nsid(own, self.namespaces.by_inode[inode]) == state.peer_nsid:
                return Target(inode, other.ifindex)
        return None

    def driver_counters(self, target: Target) -> dict[str, int]:
        """As `ethtool -S`; empty where there are none."""
        state = self.link(target)
        with contextlib.suppress(KernelError):
            return self._ethtool_of(target.netns).statistics(state.name) if state else {}
        return {}

    def features(self, target: Target) -> frozenset[str]:
        """The active ones."""
        state = self.link(target)
        with contextlib.suppress(KernelError):
            found = self._ethtool_of(target.netns).features(state.name) if state else {}
            return frozenset(name for name, on in found.items() if on)
        return frozenset()

    def _ethtool_of(self, netns: int) -> Ethtool:
        if netns not in self._ethtool:
            self._ethtool[netns] = self._undo.enter_context(Ethtool(self.namespaces.by_inode[netns]))
        return self._ethtool[netns]

    def close(self) -> None:
        """Lets go of everything. Idempotent."""
        self._undo.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
