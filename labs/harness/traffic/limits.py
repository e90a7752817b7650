# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a device sets bounds to: the length of a frame, before anything is sent; and its end, in mid-run."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import time

from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

SIOCGIFMTU = 0x8921  # include/uapi/linux/sockios.h
ETH_HLEN = 14
GONE = "device disappeared"
GONE_S = 0.2  # a device that is being removed goes down first, and is there for some milliseconds more
VLAN_HLEN = 4  # does not count, as in packet_snd() and xdp_ok_fwd_dev()


def check_mtu(namespace: NetNs, interface: str, longest: int) -> None:
    """Does a frame of this length fit?

    Raises:
        InputError: it does not.
    """
    with contextlib.closing(namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        try:
            answer = fcntl.ioctl(control, SIOCGIFMTU, struct.pack("16si12x", interface.encode(), 0))
        except OSError as error:
            raise KernelError("read MTU", f"{namespace.role}/{interface}", error.errno or 0) from error
    mtu = struct.unpack("16si12x", answer)[1]
    if longest > mtu + ETH_HLEN + VLAN_HLEN:
        raise InputError(
            f"a frame of {longest} bytes does not fit {namespace.role}/{interface} with MTU {mtu}: "
            f"make it at most {mtu + ETH_HLEN} bytes, or build the topology with a larger MTU"
        )


def is_gone(namespace: NetNs, interface: str, index: int) -> bool:
    """After a refused frame: has the device with this index disappeared, or is it about to?"""
    deadline = time.monotonic() + GONE_S
    while True:
        try:
            if namespace.interface_index(interface) != index:
                return True
        except InputError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(GONE_S / 20)
