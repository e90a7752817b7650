# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the drivers of devices say that they offer to XDP: the netlink family "netdev" (Linux 6.3).

Nothing on the devices is changed by the question. See Documentation/netlink/specs/netdev.yaml.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

from .pyxdp.errors import KernelError

# linux/netlink.h, linux/genetlink.h
NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
# linux/netdev.h
NETDEV_CMD_DEV_GET = 1
NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES = 1, 3
BITS = ("basic", "redirect", "ndo_xmit", "xsk_zerocopy", "hw_offload", "rx_sg", "ndo_xmit_sg")
ANSWER_S = 2.0


def device_features() -> dict[str, frozenset[str]]:
    """Device → names of what its driver offers, of the calling thread's network namespace.

    Raises:
        KernelError: ENOENT: the kernel has no such family (Linux before 6.3).
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as netlink:
        netlink.settimeout(ANSWER_S)
        family = 0
        name = _attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        for attributes in _ask(netlink, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_REQUEST, name):
            family = struct.unpack_from("H", attributes[CTRL_ATTR_FAMILY_ID])[0]
        found = {}
        for attributes in _ask(netlink, family, NETDEV_CMD_DEV_GET, NLM_F_REQUEST | NLM_F_DUMP):
            bits = int.from_bytes(attributes.get(NETDEV_A_DEV_XDP_FEATURES, b""), "little")
            index = struct.unpack("I", attributes[NETDEV_A_DEV_IFINDEX])[0]
            with contextlib.suppress(OSError):  # gone since
                found[socket.if_indextoname(index)] = frozenset(
                    name for place, name in enumerate(BITS) if bits >> place & 1
                )
        return found


def _ask(
    netlink: socket.socket, kind: int, command: int, flags: int, payload: bytes = b""
) -> Iterator[dict[int, bytes]]:
    """The attributes of each message of the answer."""
    body = struct.pack("BBH", command, 1, 0) + payload
    netlink.send(struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    while True:
        try:
            data = netlink.recv(1 << 16)
        except TimeoutError:
            raise KernelError("ask for XDP features", "netlink", errno.ETIMEDOUT) from None
        while data:
            length, answer = struct.unpack_from("IH", data)
            if answer == NLMSG_ERROR:
                number = -struct.unpack_from("i", data, 16)[0]
                if number:
                    hint = (
                        "the kernel does not tell what drivers offer (Linux 6.3)"
                        if number == errno.ENOENT
                        else ""
                    )
                    raise KernelError("ask for XDP features", "netlink family netdev", number, hint)
                return
            if answer == NLMSG_DONE:
                return
            yield _attributes(data[20:length])
            if not flags & NLM_F_DUMP:
                return
            data = data[(length + 3) & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :] if length >= 4 else b""
    return found


def zero_copy_devices() -> list[str]:
    """Devices of this namespace whose drivers know AF_XDP zero-copy; whether it is granted, a bind tells.

    Raises:
        KernelError: the kernel does not tell.
    """
    return sorted(name for name, offers in device_features().items() if "xsk_zerocopy" in offers)
