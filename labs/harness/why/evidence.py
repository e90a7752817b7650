# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All that was seen of one device and of what its packets meet: a plain value, from which `rules` reasons."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labs.harness.why.parts import Device, Frame, Link, Map, Socket
from xdp.program_facts import ProgramFacts
from xdp.watch_events import Event


@dataclass(frozen=True)
class Evidence:
    """All that was seen.

    Attributes:
        link: the device that is asked about, and its peer.
        want: the mode that was asked for ("native"), "" for any.
        egress: other devices that the processes behind the sockets can send by.
        attached: other devices whose program uses an XSKMAP that holds sockets of this device.
        loaded: programs that use such a map.
        maps: XSKMAPs that the device's program uses, and those that hold sockets of the device.
        sockets: all AF_XDP sockets bound to the device or in those maps, and the others of their processes.
        events: what tracepoints told of all devices; None if they were not watched.
        verdicts: queue → verdict → packets, as fexit saw them; empty where it cannot.
        frames: packets seen on the peer, or on the device.
        since: "in 1.0 s", or "since the device was made".
        live: traffic was watched; else all is over, and what did not move will not move.
    """

    link: Link
    want: str = ""
    egress: tuple[Link, ...] = ()
    attached: tuple[Device, ...] = ()
    loaded: tuple[ProgramFacts, ...] = ()
    maps: tuple[Map, ...] = ()
    sockets: tuple[Socket, ...] = ()
    events: tuple[Event, ...] | None = ()
    verdicts: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    since: str = "in 1.0 s"
    live: bool = True

    @property
    def device(self) -> Device:
        """The device that is asked about."""
        return self.link.device

    @property
    def peer(self) -> Device | None:
        """Its peer."""
        return self.link.peer

    @property
    def program_maps(self) -> tuple[Map, ...]:
        """The XSKMAPs of the device's program."""
        used = self.device.program.xskmaps if self.device.program else ()
        return tuple(one for one in self.maps if one.id in used)

    @property
    def own_sockets(self) -> tuple[Socket, ...]:
        """Those bound to the device."""
        return tuple(one for one in self.sockets if one.device == self.device.key)

    @property
    def slot_sockets(self) -> tuple[tuple[Map, int, Socket], ...]:
        """Map, slot and socket of each occupied slot of the program's maps."""
        known = {one.info.inode: one for one in self.sockets}
        return tuple(
            (one, slot, known[inode])
            for one in self.program_maps
            for slot, inode in sorted(one.slots.items())
            if inode in known
        )

    @property
    def fed_sockets(self) -> tuple[Socket, ...]:
        """Those that the device's program can feed: in a slot of its maps, and bound to the device."""
        found = {one.info.inode: one for _, _, one in self.slot_sockets if one.device == self.device.key}
        return tuple(found.values())

    @property
    def sends_only(self) -> bool:
        """Are all sockets of the device without RX ring? Then it needs no program."""
        return bool(self.own_sockets) and all(one.info.rx is None for one in self.own_sockets)

    @property
    def companions(self) -> tuple[Socket, ...]:
        """The fed sockets and all other sockets of their processes: what can hold their packets up."""
        first = self.own_sockets if self.sends_only else self.fed_sockets
        pids = {owner.pid for one in first for owner in one.info.owners}
        return tuple(
            one for one in self.sockets if one in first or pids & {owner.pid for owner in one.info.owners}
        )

    @property
    def said(self) -> dict[str, int]:
        """Verdict → packets of all queues, without zeros; empty where fexit saw none."""
        found: dict[str, int] = {}
        for queue in self.verdicts.values():
            for verdict, count in queue.items():
                if count:
                    found[verdict] = found.get(verdict, 0) + count
        return found

    @property
    def arrivals(self) -> dict[int, int]:
        """Packets that came to the program, by queue, as the driver or fexit counts them; without zeros."""
        seen = {queue: sum(said.values()) for queue, said in self.verdicts.items()}
        by_fexit = {queue: count for queue, count in seen.items() if count}
        return self.device.of_queues("xdp_packets") or by_fexit

    def events_of(self, kind: str) -> tuple[Event, ...]:
        """The events of a kind that packets of the device had."""
        return tuple(
            one
            for one in self.events or ()
            if one.kind == kind and (one.netns, one.ifindex) == self.device.key
        )

    def failed(self, number: int) -> int:
        """Redirects of the device's packets that failed with this errno."""
        return sum(one.count for one in self.events_of("redirect_err") if one.error == number)

    @property
    def redirected(self) -> int:
        """Redirects that were tried, with success or not."""
        if self.events is not None:
            return sum(one.count for one in self.events_of("redirect") + self.events_of("redirect_err"))
        done, failed = self.device.of_queues("xdp_redirect"), self.device.of_queues("drops")
        # In generic mode no driver counts: at least what the sockets counted was redirected.
        met = sum(one.moved.received + one.moved.ring_full + one.moved.dropped for one in self.fed_sockets)
        return max(sum(done.values()) + sum(failed.values()), met)

    @property
    def refused(self) -> int:
        """Redirects that failed because the socket is not of the packet's queue (EINVAL)."""
        if self.events is not None:
            return self.failed(errno.EINVAL)
        # What no socket counted was refused by the redirect itself; only native drivers count it.
        counted = sum(one.moved.ring_full + one.moved.dropped for _, _, one in self.slot_sockets)
        return max(sum(self.device.of_queues("drops").values()) - counted, 0)

    @property
    def arrived(self) -> int:
        """Packets that reached the device, by the best count there is."""
        counts = [self.device.count("rx_packets"), sum(self.arrivals.values())]
        if self.device.program is not None:
            counts.append(self.device.program.runs or 0)
        return max(*counts, self.redirected)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        made: dict[str, Any] = _plain(dataclasses.asdict(self))
        return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value
