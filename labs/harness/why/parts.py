# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The parts that evidence is made of: devices, sockets, maps, packets; plain values.

Counters are differences over the time of watching (or since the device was made: `Evidence.live`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdp.program_facts import ProgramFacts
from xdp.xskmap_model import SocketInfo

XDP_HEADROOM = 256  # XDP_PACKET_HEADROOM, linux/bpf.h: the kernel keeps it free in each chunk
ETHER_BYTES = 14
VLAN_BYTES = 4  # the kernel allows one tag beyond the MTU, is_skb_forwardable()


@dataclass(frozen=True)
class Device:
    """A network device.

    Attributes:
        name, ifindex: in its namespace.
        netns: inode of its network namespace; `place` is how people call it, "" for the caller's own.
        enter: what to write before a command so that it runs in that namespace.
        kind: "veth", or "" for hardware.
        up: administratively.
        carrier: can frames pass? For a veth: is its peer up?
        mtu: bytes, without Ethernet header.
        mac: "02:00:…".
        queues: RX queues.
        xdp_mode: "none", "native", "generic", "hardware", "several".
        program: what is attached.
        features: active ones by ethtool's names.
        counters: link's and driver's, differences.
    """

    name: str
    ifindex: int
    netns: int
    place: str = ""
    kind: str = "veth"
    up: bool = True
    carrier: bool = True
    mtu: int = 1500
    mac: str = ""
    queues: int = 1
    xdp_mode: str = "none"
    program: ProgramFacts | None = None
    features: frozenset[str] = frozenset()
    counters: Mapping[str, int] = field(default_factory=dict)
    enter: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.place})" if self.place else self.name

    @property
    def key(self) -> tuple[int, int]:
        """Which device it is, of all."""
        return (self.netns, self.ifindex)

    def count(self, name: str) -> int:
        """A counter; 0 for one that the device does not have."""
        return self.counters.get(name, 0)

    def of_queues(self, name: str) -> dict[int, int]:
        """A driver's counter per RX queue ("xdp_packets" → rx_queue_N_xdp_packets), without zeros."""
        found = {}
        for counter, value in self.counters.items():
            if counter.startswith("rx_queue_") and value:
                queue, _, what = counter.removeprefix("rx_queue_").partition("_")
                if what == name and queue.isdigit():
                    found[int(queue)] = value
        return found


@dataclass(frozen=True)
class Moved:
    """What a socket did during the watch, in frames."""

    received: int = 0
    read: int = 0
    given: int = 0
    taken_back: int = 0
    queued: int = 0
    sent: int = 0
    completed: int = 0
    ring_full: int = 0
    no_frame: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Socket:
    """An AF_XDP socket: how it stands now, what it did, in which slots of which XSKMAPs it is."""

    info: SocketInfo
    moved: Moved = Moved()
    slots: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        owner = self.info.owners[0] if self.info.owners else None
        who = f"{owner.name} (pid {owner.pid})" if owner else "a process that cannot be seen"
        return f"the socket of {who}"

    @property
    def device(self) -> tuple[int, int] | None:
        """Which device it is bound to; None if it is not."""
        return (self.info.netns.inode, self.info.ifindex) if self.info.ifindex is not None else None

    @property
    def frame_bytes(self) -> int:
        """The longest packet that fits one frame."""
        umem = self.info.umem
        return umem.chunk_size - umem.headroom - XDP_HEADROOM if umem else 0


@dataclass(frozen=True)
class Map:
    """An XSKMAP: its slots, each with the inode of its socket."""

    id: int
    name: str
    max_entries: int
    slots: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A packet that was seen.

    Attributes:
        at: name of the device where; `incoming`: received there, else sent.
        length: bytes from the Ethernet header on, VLAN tags included.
        source, destination: MAC addresses.
        vlans: ids of its VLAN tags.
        text: of what is in it, "UDP 192.168.1.10:40000 → 192.168.1.20:4242".
        partial: its checksum is left to the hardware (CHECKSUM_PARTIAL).
        gso_bytes: of a super-frame the size of its segments, else 0.
        other_host: it was received with another's MAC address.
        fragment: an IP fragment.
        count: packets that were like it.
        verdict: what the device's program says to it, where the program was asked; `untagged` without its
            VLAN tags; `constant` with the destination port that a constant of the program names.
    """

    at: str
    incoming: bool
    length: int
    source: str = ""
    destination: str = ""
    vlans: tuple[int, ...] = ()
    text: str = ""
    partial: bool = False
    gso_bytes: int = 0
    other_host: bool = False
    fragment: bool = False
    count: int = 1
    verdict: str | None = None
    untagged: str | None = None
    constant: str | None = None


@dataclass(frozen=True)
class Link:
    """A device with its peer, where it is one end of a veth pair and the other end can be seen."""

    device: Device
    peer: Device | None = None
