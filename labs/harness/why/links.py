# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The devices of a namespace by one netlink dump: state, queues, peer, XDP program, counters.

Messages are taken apart here: a diagnosis looks into every namespace, where a library costs 2 ms each.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from labs.harness.counters import LINK_COUNTERS
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import KernelError

# include/uapi/linux/rtnetlink.h, netlink.h, net_namespace.h
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWNSID, _RTM_GETNSID = 16, 18, 88, 90
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _DUMP = 1, 0x300
_NETNSA_NSID, _NETNSA_FD = 1, 3
# include/uapi/linux/if_link.h
_ADDRESS, _IFNAME, _MTU, _LINK, _OPERSTATE, _LINKINFO = 1, 3, 4, 5, 16, 18
_STATS64, _NUM_RX_QUEUES, _CARRIER, _LINK_NETNSID, _XDP = 23, 32, 33, 37, 43
_INFO_KIND = 1
_XDP_ATTACHED, _XDP_PROG_ID, _XDP_DRV, _XDP_SKB, _XDP_HW = 2, 4, 5, 6, 7
_MODES = ("none", "native", "generic", "hardware", "several")  # XDP_ATTACHED_*
_UP = 1  # IFF_UP, linux/if.h
_TYPE = 0x3FFF  # NLA_TYPE_MASK


@dataclass(frozen=True)
class LinkState:
    """A device as the kernel lists it.

    Attributes:
        name, ifindex: of it.
        up, carrier, mtu, mac, queues, kind: as in `evidence.Device`.
        peer_ifindex: of a veth the other end's, else 0.
        peer_nsid: number by which this namespace knows the peer's; None for this one.
        xdp_mode, prog_id: what is attached.
        counters: `rtnl_link_stats64`.
    """

    name: str
    ifindex: int
    up: bool
    carrier: bool
    mtu: int
    mac: str
    queues: int
    kind: str
    peer_ifindex: int
    peer_nsid: int | None
    xdp_mode: str
    prog_id: int
    counters: dict[str, int] = field(default_factory=dict)


def links(namespace: NetNs) -> list[LinkState]:
    """All devices of a namespace.

    Raises:
        KernelError: the namespace cannot be asked.
    """
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(2.0)
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
        netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_GETLINK, _REQUEST | _DUMP, 1, 0) + body)
        found = []
        for kind, payload in _messages(netlink, namespace.role):
            if kind == _RTM_NEWLINK:
                found.append(_link(payload))
        return found


def nsid(namespace: NetNs, other: NetNs) -> int | None:
    """The number by which one namespace knows another; None if it has none."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(2.0)
        body = struct.pack("=B3x", 0) + struct.pack("=HHI", 8, _NETNSA_FD, other.fd)
        netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_GETNSID, _REQUEST, 1, 0) + body)
        answer = netlink.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != _RTM_NEWNSID:
        return None
    raw = _attributes(answer[20:]).get(_NETNSA_NSID)
    number = struct.unpack("=i", raw)[0] if raw else -1
    return number if number >= 0 else None


def _messages(netlink: socket.socket, where: str) -> Iterator[tuple[int, bytes]]:
    while True:
        data = netlink.recv(1 << 18)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                raise KernelError("list devices", where, -struct.unpack_from("=i", data, 16)[0])
            yield kind, data[16:length]
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & _TYPE] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _number(raw: bytes | None, default: int = 0) -> int:
    return int.from_bytes(raw, "little") if raw else default


def _link(payload: bytes) -> LinkState:
    ifindex, flags = struct.unpack_from("=iI", payload, 4)
    has = _attributes(payload[16:])
    info = _attributes(has.get(_LINKINFO, b""))
    xdp = _attributes(has.get(_XDP, b""))
    mode = _number(xdp.get(_XDP_ATTACHED))
    prog = next((_number(xdp[key]) for key in (_XDP_PROG_ID, _XDP_DRV, _XDP_SKB, _XDP_HW) if key in xdp), 0)
    kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode()
    raw = has.get(_STATS64, b"")
    values = struct.unpack_from(f"={len(raw) // 8}Q", raw)
    return LinkState(
        name=has[_IFNAME].rstrip(b"\0").decode(),
        ifindex=ifindex,
        up=bool(flags & _UP),
        carrier=not flags & _UP or bool(_number(has.get(_CARRIER), 1)),
        mtu=_number(has.get(_MTU)),
        mac=has.get(_ADDRESS, b"").hex(":"),
        queues=_number(has.get(_NUM_RX_QUEUES), 1),
        kind=kind,
        peer_ifindex=_number(has.get(_LINK)) if kind == "veth" else 0,
        peer_nsid=_number(has[_LINK_NETNSID]) if _LINK_NETNSID in has else None,
        xdp_mode=_MODES[mode] if mode < len(_MODES) else str(mode),
        prog_id=prog,
        counters=dict(zip(LINK_COUNTERS, values, strict=False)),
    )
