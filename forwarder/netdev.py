# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel knows of a network device, asked by ioctl.

Not by /sys/class/net: sysfs shows the devices of the namespace that mounted it, not of ours.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections import Counter

from xdp.pyxdp.errors import InputError, KernelError
from xdp.pyxdp.sysfs import open_sysfs

IFNAMSIZ = 16
# linux/sockios.h and linux/ethtool.h
SIOCGIFFLAGS = 0x8913
SIOCGIFADDR = 0x8915
SIOCGIFHWADDR = 0x8927
SIOCETHTOOL = 0x8946
IFF_UP = 1  # linux/if.h
ETHTOOL_GCHANNELS = 0x3C


def ask(request: int, name: str, argument: bytes = b"") -> bytes:
    """One `struct ifreq` ioctl; returns the 24 bytes behind the name.

    Raises:
        OSError: the kernel refused.
    """
    ifreq = struct.pack("16s24s", name.encode(), argument)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return fcntl.ioctl(control, request, ifreq)[IFNAMSIZ:]


def index(name: str) -> int:
    """The device's index.

    Raises:
        InputError: no such device in this network namespace.
    """
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise InputError(
            f"no interface named {name!r} in this network namespace: see `ip link` in the same namespace"
        ) from error


def exists(name: str) -> bool:
    """Whether there is a device of that name in this network namespace."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def is_up(name: str) -> bool:
    """Whether the device is set up (IFF_UP): the kernel binds to one that is down, and nothing ever comes."""
    return bool(struct.unpack("H", ask(SIOCGIFFLAGS, name)[:2])[0] & IFF_UP)


def mac(name: str) -> bytes:
    """The device's Ethernet address, 6 bytes."""
    return ask(SIOCGIFHWADDR, name)[2:8]


def ipv4(name: str) -> bytes | None:
    """The device's first IPv4 address, 4 bytes; None where it has none."""
    try:
        return ask(SIOCGIFADDR, name)[4:8]
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise


def ipv6(name: str) -> list[bytes]:
    """The device's IPv6 addresses, 16 bytes each."""
    try:
        # pathlib would be a tenth of a forwarder's whole start.
        with open("/proc/net/if_inet6", encoding="ascii") as file:  # noqa: PTH123 (see above)
            lines = file.readlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
    fields = (line.split() for line in lines)
    return [bytes.fromhex(field[0]) for field in fields if field[-1] == name]


def queues(name: str) -> int | None:
    """Number of queues that the device has in use now; None where neither its driver nor sysfs says.

    The larger of RX and TX queues, as the kernel's own check at bind takes it (xp_assign_dev,
    net/xdp/xsk_buff_pool.c).
    """
    # struct ethtool_channels: cmd, max {rx, tx, other, combined}, now {rx, tx, other, combined}
    channels = array.array("I", [ETHTOOL_GCHANNELS, *[0] * 8])
    try:
        ask(SIOCETHTOOL, name, struct.pack("P", channels.buffer_info()[0]))
    except OSError:
        return _queues_in_sysfs(name)  # lo, and veth before Linux 5.13
    rx, tx, _other, combined = channels[5:9]
    return max(rx, tx) + combined or None


def _queues_in_sysfs(name: str) -> int | None:
    with contextlib.ExitStack() as undo:
        try:
            root = open_sysfs()
            undo.callback(os.close, root)
            folder = os.open(f"class/net/{name}/queues", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
            undo.callback(os.close, folder)
            with os.scandir(folder) as found:
                kinds = Counter(queue.name.partition("-")[0] for queue in found)
        except (OSError, KernelError):
            return None
    return max(kinds["rx"], kinds["tx"]) or None
