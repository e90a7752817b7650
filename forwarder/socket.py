# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An AF_XDP socket and what the kernel really granted it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdp.pyxdp import xdplink, xsk
from xdp.pyxdp.errors import InputError, KernelError

from . import _batch, busy_poll, netdev
from .busy_poll import BusyPoll
from .spec import ForwarderSpec

if TYPE_CHECKING:
    from xdp.pyxdp._native import Ring

TX_BUDGET_DEFAULT = 32  # TX_BATCH_SIZE, net/xdp/xsk.c: descriptors that a copy-mode sendto() sends


@dataclass(frozen=True)
class Granted:
    """What one socket has, asked back from the kernel and never echoed from the request.

    Attributes:
        interface, ifindex, queue: where it is bound.
        inode: the number in /proc/PID/fd → socket:[N].
        asked: the binding that was asked for: "auto", "copy" or "zero-copy".
        mode: "copy" or "zero-copy".
        attached: how the device's XDP program is attached when the socket is bound: "native", "generic"
            (which can only be "copy"), "hardware", "several", or "none" where there is no program yet.
        need_wakeup: the kernel sets the rings' need-wakeup flags.
        multi_buffer: packets may fill several frames.
        unaligned: the UMEM's frames may lie anywhere.
        shared_umem: other sockets of the process use the same UMEM.
        page_size: bytes of a page of the UMEM.
        busy_poll: what the kernel says of busy polling.
        tx_budget: descriptors a copy-mode sendto() may send.
        rx_size, tx_size, fill_size, completion_size: entries of the rings.
    """

    interface: str
    ifindex: int
    queue: int
    inode: int
    asked: str
    mode: str
    attached: str
    need_wakeup: bool
    multi_buffer: bool
    unaligned: bool
    shared_umem: bool
    page_size: int
    busy_poll: BusyPoll
    tx_budget: int
    rx_size: int
    tx_size: int
    fill_size: int
    completion_size: int


class XskSocket:
    """One queue's socket over `xdp.pyxdp.xsk.XskSocket`.

    Args:
        spec: ring sizes, binding and options.
        umem: the registered UMEM.
        interface: device, in the calling thread's network namespace.
        queue: its queue.
        shared: the UMEM has a socket already: this one gets a fill and a completion ring of its own, and the
            bind flags of the first.
        page_size: bytes of a page of the UMEM.

    Raises:
        InputError: no such interface or queue, or the interface is down.
        KernelError: the kernel refused the bind (EBUSY: the queue is taken).
    """

    def __init__(
        self,
        spec: ForwarderSpec,
        umem: xsk.XskUmem,
        interface: str,
        queue: int,
        *,
        shared: bool = False,
        page_size: int = mmap.PAGESIZE,
    ) -> None:
        ifindex = netdev.index(interface)
        if not netdev.is_up(interface):
            raise InputError(f"{interface} is down: ip link set {interface} up")
        try:
            self._xsk = xsk.XskSocket(
                umem,
                interface,
                queue,
                rx_size=spec.rx_size,
                tx_size=spec.tx_size,
                bind_flags=bind_flags(spec),
                shared=shared,
            )
        except KernelError as error:
            if error.errno == errno.EINVAL:
                check_queue(interface, queue)
            raise
        try:
            self.granted = self._ask_back(spec, interface, ifindex, queue, page_size)
        except BaseException:
            self.close()
            raise

    def _ask_back(
        self, spec: ForwarderSpec, interface: str, ifindex: int, queue: int, page_size: int
    ) -> Granted:
        with self._options() as options:
            if spec.busy_poll:
                busy_poll.ask(options, spec.busy_poll_usecs, spec.busy_poll_budget)
            flags = options.getsockopt(xsk.SOL_XDP, xsk.XDP_OPTIONS)
            budget = _set_tx_budget(options, spec.tx_budget or self._xsk.tx.size)
            polling = busy_poll.granted(options)
        return Granted(
            interface=interface,
            ifindex=ifindex,
            queue=queue,
            inode=os.fstat(self.fd).st_ino,
            asked=spec.binding,
            mode="zero-copy" if flags & xsk.XDP_OPTIONS_ZEROCOPY else "copy",
            attached=xdplink.query(ifindex).mode,
            # Set by the kernel at bind: TX always has to be woken the first time (xp_assign_dev).
            need_wakeup=bool(self._xsk.tx.flags[0] & 1),
            # The kernel takes these two as asked for or refuses them, and cannot be asked back.
            multi_buffer=spec.multi_buffer,
            unaligned=spec.unaligned,
            shared_umem=spec.shared_umem,
            page_size=page_size,
            busy_poll=polling,
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
        return (
            self.fd,
            fill,
            completion,
            rx,
            tx,
            self.granted.need_wakeup,
            receive,
            self.granted.busy_poll.prefer,
        )

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


def bind_flags(spec: ForwarderSpec) -> int:
    """The flags of the bind of a UMEM's first socket."""
    flags = {"auto": 0, "copy": xsk.XDP_COPY, "zero-copy": xsk.XDP_ZEROCOPY}[spec.binding]
    if spec.need_wakeup:
        flags |= xsk.XDP_USE_NEED_WAKEUP
    if spec.multi_buffer:
        flags |= xsk.XDP_USE_SG
    return flags


def _set_tx_budget(options: socket.socket, budget: int) -> int:
    """Says how much one copy-mode sendto() may send, where the kernel can (about Linux 6.17)."""
    try:
        options.setsockopt(xsk.SOL_XDP, xsk.XDP_MAX_TX_SKB_BUDGET, struct.pack("I", budget))
    except OSError:
        return TX_BUDGET_DEFAULT
    return budget
