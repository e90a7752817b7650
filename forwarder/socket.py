# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An AF_XDP socket and what the kernel really granted it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdp.pyxdp import xsk
from xdp.pyxdp.errors import InputError, KernelError

from . import _batch, netdev

if TYPE_CHECKING:
    from xdp.pyxdp._native import Ring

TX_BUDGET_DEFAULT = 32  # TX_BATCH_SIZE, net/xdp/xsk.c: descriptors that a copy-mode sendto() sends


@dataclass(frozen=True)
class Granted:
    """What one socket has, asked back from the kernel and never echoed from the request.

    Attributes:
        interface, ifindex, queue: where it is bound.
        inode: the number in /proc/PID/fd → socket:[N].
        mode: "copy" or "zero-copy".
        need_wakeup: the kernel sets the rings' need-wakeup flags.
        tx_budget: descriptors a copy-mode sendto() may send.
        rx_size, tx_size, fill_size, completion_size: entries of the rings.
    """

    interface: str
    ifindex: int
    queue: int
    inode: int
    mode: str
    need_wakeup: bool
    tx_budget: int
    rx_size: int
    tx_size: int
    fill_size: int
    completion_size: int


class XskSocket:
    """One queue's socket over `xdp.pyxdp.xsk.XskSocket`.

    Args:
        umem: the registered UMEM.
        interface: device, in the calling thread's network namespace.
        queue: its queue.
        rx_size: entries of the RX ring.
        tx_size: entries of the TX ring.
        bind_flags: XDP_* bind flags; the kernel takes them from a UMEM's first socket only.
        shared: this is the UMEM's second socket, with a fill and a completion ring of its own.

    Raises:
        InputError: no such interface or queue, or the interface is down.
        KernelError: the kernel refused the bind (EBUSY: the queue is taken).
    """

    def __init__(
        self,
        umem: xsk.XskUmem,
        interface: str,
        queue: int,
        *,
        rx_size: int,
        tx_size: int,
        bind_flags: int,
        shared: bool = False,
    ) -> None:
        ifindex = netdev.index(interface)
        if not netdev.is_up(interface):
            raise InputError(f"{interface} is down: ip link set {interface} up")
        try:
            self._xsk = xsk.XskSocket(
                umem, interface, queue, rx_size=rx_size, tx_size=tx_size, bind_flags=bind_flags, shared=shared
            )
        except KernelError as error:
            if error.errno == errno.EINVAL:
                check_queue(interface, queue)
            raise
        try:
            self.granted = self._ask_back(interface, ifindex, queue)
        except BaseException:
            self.close()
            raise

    def _ask_back(self, interface: str, ifindex: int, queue: int) -> Granted:
        with self._options() as options:
            flags = options.getsockopt(xsk.SOL_XDP, xsk.XDP_OPTIONS)
            budget = _raise_tx_budget(options, self._xsk.tx.size)
        return Granted(
            interface=interface,
            ifindex=ifindex,
            queue=queue,
            inode=os.fstat(self.fd).st_ino,
            mode="zero-copy" if flags & xsk.XDP_OPTIONS_ZEROCOPY else "copy",
            # Set by the kernel at bind: TX always has to be woken the first time (xp_assign_dev).
            need_wakeup=bool(self._xsk.tx.flags[0] & 1),
            tx_budget=budget,
            rx_size=self._xsk.rx.size,
            tx_size=self._xsk.tx.size,
            fill_size=self._xsk.fill.size,
            completion_size=self._xsk.completion.size,
        )

    def _options(self) -> socket.socket:
        return socket.socket(xsk.AF_XDP, socket.SOCK_RAW, 0, fileno=os.dup(self.fd))

    @property
    def fd(self) -> int:
        """The socket's file descriptor."""
        return self._xsk.fd

    def port(self, *, receive: bool) -> _batch.Port:
        """What the C loop needs to know of this socket."""
        fill, completion, rx, tx = (
            ctypes.addressof(ring)
            for ring in (self._xsk.fill, self._xsk.completion, self._xsk.rx, self._xsk.tx)
        )
        return (self.fd, fill, completion, rx, tx, self.granted.need_wakeup, receive, False)

    def statistics(self) -> dict[str, int]:
        """XDP_STATISTICS: what the kernel dropped or found wrong, since the socket exists."""
        return xsk.statistics(self.fd)

    def levels(self) -> dict[str, int]:
        """Entries that stand in each ring now, by its name; while the socket is open, from any thread."""
        rings = {
            "rx": self._xsk.rx,
            "tx": self._xsk.tx,
            "fill": self._xsk.fill,
            "completion": self._xsk.completion,
        }
        return {name: _level(ring) if ring.size else 0 for name, ring in rings.items()}

    def enter(self, xskmap_fd: int) -> None:
        """Puts the socket into an XSKMAP, in the slot of its queue."""
        self._xsk.update_xskmap(xskmap_fd)

    def close(self) -> None:
        """Closes the socket, which leaves every XSKMAP; may be called again."""
        self._xsk.close()


def _level(ring: Ring) -> int:
    consumed = ring.consumer[0]  # read first, so that it is never beyond what was produced
    return int(min((ring.producer[0] - consumed) & 0xFFFFFFFF, ring.size))


def check_queue(interface: str, queue: int) -> None:
    """Sees that the device has this queue, where its driver tells.

    Raises:
        InputError: it has not.
    """
    queues = netdev.queues(interface)
    if queues is not None and queue >= queues:
        there = "queue 0 only" if queues == 1 else f"queues 0 to {queues - 1}"
        raise InputError(f"{interface} has no queue {queue}: it has {there} (ethtool -l {interface})")


def _raise_tx_budget(options: socket.socket, budget: int) -> int:
    """Lets one copy-mode sendto() send a ring's worth, where the kernel can (about Linux 6.17)."""
    try:
        options.setsockopt(xsk.SOL_XDP, xsk.XDP_MAX_TX_SKB_BUDGET, struct.pack("I", budget))
    except OSError:
        return TX_BUDGET_DEFAULT
    return budget
