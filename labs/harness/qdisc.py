# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The queue in front of a device (qdisc), and what it dropped: frames that the sender was told are sent.

A veth pair has none. A card has one, and where the distribution's default is fq_codel it drops frames once
they have waited for longer than 5 ms for 100 ms on end: no counter of the link or of the driver shows it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from xdp.pyxdp.errors import KernelError

# include/uapi/linux/rtnetlink.h, pkt_sched.h, gen_stats.h, netlink.h
RTM_NEWQDISC = 36
RTM_GETQDISC = 38
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCA_KIND, TCA_STATS2, TCA_STATS_QUEUE = 1, 7, 3
TC_H_ROOT = 0xFFFFFFFF
NESTED = 0x8000  # NLA_F_NESTED, beside an attribute's type
NONE = "noqueue"


def drops(netlink: socket.socket, index: int) -> int | None:
    """Frames that the queue of a device dropped so far; None where the device has no queue.

    Args:
        netlink: a route netlink socket in the device's namespace, with nothing to be read on it.
        index: the device's.

    Raises:
        KernelError: the kernel refused.
    """
    request = struct.pack(
        "=IHHIIBBHiIII", 36, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, 0, 0, 0, 0, 0, 0, 0, 0, 0
    )
    netlink.send(request)
    found: int | None = None
    for kind, message in _answers(netlink):
        if kind == NLMSG_ERROR:
            raise KernelError("read queue", f"device {index}", -struct.unpack_from("=i", message)[0])
        device, _, parent = struct.unpack_from("=iII", message, 4)
        if kind != RTM_NEWQDISC or device != index or parent != TC_H_ROOT:
            continue
        values = dict(_attributes(message[20:]))
        if values[TCA_KIND].rstrip(b"\0").decode() != NONE:
            queue = dict(_attributes(values[TCA_STATS2]))[TCA_STATS_QUEUE]
            found = struct.unpack_from("=I", queue, 8)[0]  # struct gnet_stats_queue: qlen, backlog, drops
    return found


def _answers(netlink: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Type and content of each message of a dump."""
    while True:
        data = netlink.recv(65536)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_DONE:
                return
            yield kind, data[16:length]
            if kind == NLMSG_ERROR:
                return
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & ~NESTED, data[4:length]
        data = data[(length + 3) & ~3 :]
