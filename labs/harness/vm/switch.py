# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What joins a guest's cards where one has several queues: QEMU's hub has one queue a port, a TAP has many.

A bridge in a network namespace of its own, a TAP on it for each card. The namespace has no name, only our
descriptor; a TAP lives as long as a descriptor of it, which we and QEMU have. However we die, all of it goes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forwarder.host import IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, TUN, TUNSETIFF
from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

BRIDGE = "switch"
MTU = 65521  # the largest of a TAP (65,535 less the Ethernet header): a hub knows no limit either
WAITING = (
    10_000  # frames that wait for QEMU at a TAP: the guest may be slow, and what finds no room is dropped
)


class Switch:
    """The bridge and the TAPs; a context manager.

    Args:
        queues: of each card, in their order.
        run: the run's id.

    Attributes:
        fds: of each card, a descriptor for each of its queues.

    Raises:
        InputError: there are no TAPs here.
        KernelError: the kernel refused a step.
    """

    def __init__(self, queues: Sequence[int], run: str) -> None:
        self.fds: list[list[int]] = []
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            namespace = undo.enter_context(NetNs(BRIDGE, run))
            route = undo.enter_context(contextlib.closing(namespace.netlink()))
            bridge = _bridge(namespace, route)
            for place, count in enumerate(queues):
                name = f"card{place}"
                opened: list[int] = []
                self.fds.append(opened)
                undo.callback(_close, opened)
                with namespace.entered():
                    _open(name, count, opened)
                with kernel_errors("set up TAP", name):
                    index = namespace.interface_index(name)
                    route.link("set", index=index, mtu=MTU, txqlen=WAITING, master=bridge)
                    route.link("set", index=index, state="up")
            with kernel_errors("set up bridge", BRIDGE):
                route.link("set", index=bridge, mtu=MTU, state="up")
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Closes the descriptors: with the last ones the TAPs go, and the namespace with the bridge."""
        self._undo.close()

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bridge(namespace: NetNs, route: IPRoute) -> int:
    """A bridge that says nothing itself, and forwards from the first moment on; its index."""
    with kernel_errors("make bridge", BRIDGE):
        route.link(
            "add", ifname=BRIDGE, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0
        )
    return namespace.interface_index(BRIDGE)


def _open(name: str, queues: int, opened: list[int]) -> None:
    for _ in range(queues):
        try:
            fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                f"cards with several queues need TAPs: {TUN}: {error.strerror}; load the module tun, as root"
            ) from error
        opened.append(fd)
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE)
        try:
            fcntl.ioctl(fd, TUNSETIFF, request)
        except OSError as error:
            raise KernelError("make TAP", name, error.errno or errno.EINVAL) from error


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
