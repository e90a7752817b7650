# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A sample of the packets on a device, with what the kernel knows beside the bytes: checksum, segments, tag.

Seen is what the stack sends and receives. What native XDP takes never reaches the stack of its own device;
it is seen where it was sent, at the peer. What AF_XDP sends is seen only where it is received.
"""

from __future__ import annotations

import dataclasses
import select
import socket
import struct
import time
from collections.abc import Sequence

from labs.harness.capture import (
    ETH_P_ALL,
    PACKET_AUXDATA,
    PACKET_OUTGOING,
    SOL_PACKET,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
)
from labs.harness.netns import NetNs
from labs.harness.why.parts import Frame
from xdp.pyxdp.errors import KernelError

PACKET_VNET_HDR = 15  # include/uapi/linux/if_packet.h
PACKET_OTHERHOST = 3
VNET_HEADER = 10  # struct virtio_net_hdr, include/uapi/linux/virtio_net.h
NEEDS_CSUM = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM
SNAP = 3500  # bytes kept of a packet: what a program can be asked about
PACKETS = 200  # looked at on one device; the rest would say the same
KINDS = 16  # different packets kept
_VLAN_TYPES = (0x8100, 0x88A8)
_PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_WITH_PORTS = (6, 17, 132)


@dataclasses.dataclass(frozen=True)
class Packet:
    """A packet of the sample: its frame, and its bytes with all tags in place (at most `SNAP`)."""

    frame: Frame
    data: bytes


class Sampler:
    """Listens on one device from construction; a context manager.

    Raises:
        KernelError: the kernel refused the socket, or the device is gone.
    """

    def __init__(self, namespace: NetNs, interface: str) -> None:
        self.interface = interface
        self._found: dict[Frame, tuple[int, bytes]] = {}
        self._left = PACKETS
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self.socket.setblocking(False)
            self.socket.bind((interface, ETH_P_ALL))
        except OSError as error:
            self.socket.close()
            raise KernelError("sample packets", interface, error.errno or 0) from error

    @property
    def open(self) -> bool:
        """Does it still listen?"""
        return self.socket.fileno() >= 0

    @property
    def packets(self) -> list[Packet]:
        """What was seen, equal ones once."""
        return [
            Packet(dataclasses.replace(frame, count=count), data)
            for frame, (count, data) in self._found.items()
        ]

    def read(self) -> None:
        """Takes what waits; closes when it has seen enough, or when the device went."""
        while self._left:
            try:
                data, ancillary, _, address = self.socket.recvmsg(VNET_HEADER + SNAP, 256)
            except BlockingIOError:
                return
            except OSError:  # the device went down or away: what was seen stays
                break
            self._left -= 1
            self._take(data, ancillary, address)
        self.close()

    def _take(
        self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[object, ...]
    ) -> None:
        flags, _, _, gso = struct.unpack_from("=BBHH", data)
        data = data[VNET_HEADER:]
        length = len(data)
        for level, kind, value in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, length, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tag = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                    data, length = data[:12] + struct.pack("!HH", tag, tci) + data[12:], length + 4
        frame = describe(
            data,
            at=self.interface,
            incoming=address[2] != PACKET_OUTGOING,
            length=length,
            partial=bool(flags & NEEDS_CSUM),
            gso_bytes=gso,
            other_host=address[2] == PACKET_OTHERHOST,
        )
        count, kept = self._found.get(frame, (0, data))
        if count or len(self._found) < KINDS:
            self._found[frame] = (count + 1, kept)

    def close(self) -> None:
        """Ends listening. Idempotent."""
        self.socket.close()

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(samplers: Sequence[Sampler], seconds: float) -> None:
    """Lets all of them listen for so long."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        listening = [one for one in samplers if one.open]
        ready, _, _ = select.select([one.socket for one in listening], [], [], left)
        for one in listening:
            if one.socket in ready:
                one.read()


def describe(
    data: bytes,
    *,
    at: str,
    incoming: bool,
    length: int,
    partial: bool = False,
    gso_bytes: int = 0,
    other_host: bool = False,
) -> Frame:
    """A frame from its bytes; never fails, whatever they are."""
    vlans, ethertype, rest = _untag(data)
    text, fragment = _describe_ip(ethertype, rest)
    return Frame(
        at,
        incoming,
        length,
        data[6:12].hex(":"),
        data[:6].hex(":"),
        vlans,
        text,
        partial,
        gso_bytes,
        other_host,
        fragment,
    )


def untagged(data: bytes) -> bytes:
    """The packet without its VLAN tags."""
    _, ethertype, rest = _untag(data)
    return data[:12] + struct.pack("!H", ethertype) + rest


def with_port(data: bytes, port: int) -> bytes:
    """The packet with another destination port, if it is TCP, UDP or SCTP; its checksum is not repaired."""
    _, ethertype, rest = _untag(data)
    at = _ports_at(ethertype, rest)
    if at is None or len(rest) < at + 4:
        return data
    start = len(data) - len(rest) + at + 2
    return data[:start] + struct.pack("!H", port) + data[start + 2 :]


def _untag(data: bytes) -> tuple[tuple[int, ...], int, bytes]:
    vlans = []
    at = 12
    while len(data) >= at + 4 and struct.unpack_from("!H", data, at)[0] in _VLAN_TYPES:
        vlans.append(struct.unpack_from("!H", data, at + 2)[0] & 0xFFF)
        at += 4
    ethertype = struct.unpack_from("!H", data, at)[0] if len(data) >= at + 2 else 0
    return tuple(vlans), ethertype, data[at + 2 :]


def _ports_at(ethertype: int, rest: bytes) -> int | None:
    """Where the ports are in an IP packet; None where there are none. Later fragments have none."""
    if ethertype == 0x0800 and len(rest) >= 20 and rest[9] in _WITH_PORTS:
        return None if struct.unpack_from("!H", rest, 6)[0] & 0x1FFF else (rest[0] & 15) * 4
    if ethertype == 0x86DD and len(rest) >= 40 and rest[6] in _WITH_PORTS:
        return 40
    return None


def _describe_ip(ethertype: int, rest: bytes) -> tuple[str, bool]:
    if ethertype == 0x0806:
        return "ARP", False
    if ethertype == 0x0800 and len(rest) >= 20:
        protocol = rest[9]
        ends = [socket.inet_ntop(socket.AF_INET, rest[i : i + 4]) for i in (12, 16)]
        fragment = bool(struct.unpack_from("!H", rest, 6)[0] & 0x3FFF)
    elif ethertype == 0x86DD and len(rest) >= 40:
        protocol = rest[6]
        ends = [socket.inet_ntop(socket.AF_INET6, rest[i : i + 16]) for i in (8, 24)]
        fragment = protocol == 44
    else:
        return f"EtherType 0x{ethertype:04x}", False
    at = _ports_at(ethertype, rest)
    if at is not None and len(rest) >= at + 4:
        colon = ":" if ethertype == 0x0800 else " port "
        ends = [
            f"{end}{colon}{port}" for end, port in zip(ends, struct.unpack_from("!HH", rest, at), strict=True)
        ]
    name = _PROTOCOLS.get(protocol, f"IP protocol {protocol}")
    return f"{'fragment of ' if fragment else ''}{name} {ends[0]} → {ends[1]}", fragment
