# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""AF_XDP UMEMs and sockets through libxdp.

The ring structures are zeroed before libxdp sees them: libxdp 1.3 does not initialise the completion ring's
cached indices, and what stood there before would be taken for completed frames.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from ._native import Ring, SocketConfig, UmemConfig, libxdp
from .errors import KernelError

AF_XDP = 44  # linux/socket.h; the socket module does not name it before Python 3.13
SO_PREFER_BUSY_POLL = 69  # asm-generic/socket.h; the socket module does not name it either
# linux/if_xdp.h
SOL_XDP = 283
XDP_MMAP_OFFSETS = 1
XDP_STATISTICS = 7
XDP_OPTIONS = 8
XDP_MAX_TX_SKB_BUDGET = 9
XDP_OPTIONS_ZEROCOPY = 1 << 0
XDP_SHARED_UMEM = 1 << 0
XDP_COPY = 1 << 1
XDP_ZEROCOPY = 1 << 2
XDP_USE_NEED_WAKEUP = 1 << 3
XDP_USE_SG = 1 << 4
XDP_UMEM_UNALIGNED_CHUNK_FLAG = 1 << 0
XDP_RING_NEED_WAKEUP = 1 << 0
XDP_PKT_CONTD = 1 << 0  # options of a descriptor: the packet goes on in the next one
XDP_TX_METADATA = 1 << 1
# Where a socket's rings are found by mmap().
XDP_PGOFF_RX_RING = 0
XDP_PGOFF_TX_RING = 0x80000000
XDP_UMEM_PGOFF_FILL_RING = 0x100000000
XDP_UMEM_PGOFF_COMPLETION_RING = 0x180000000
INHIBIT_PROG_LOAD = 1 << 0  # XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD, xdp/xsk.h

# struct xdp_statistics, linux/if_xdp.h; the last three exist since Linux 5.9.
STATISTICS = (
    "rx_dropped",
    "rx_invalid_descs",
    "tx_invalid_descs",
    "rx_ring_full",
    "rx_fill_ring_empty_descs",
    "tx_ring_empty_descs",
)


class XskUmem:
    """A registered UMEM with its fill and completion ring.

    Args:
        address: start of the memory, page-aligned; the caller keeps it mapped until `close`.
        size: bytes, a multiple of `frame_size`.
        frame_size: bytes a chunk; the kernel takes powers of two from 2,048 to the page size in aligned mode.
        headroom: bytes left free in front of each received packet, beyond XDP's own 256.
        fill_size: entries of the fill ring, a power of two.
        completion_size: entries of the completion ring, a power of two.
        flags: XDP_UMEM_* flags.

    Raises:
        KernelError: the kernel refused (EINVAL: sizes, ENOBUFS: locked-memory limit, EPERM: no CAP_NET_RAW).
    """

    def __init__(
        self,
        address: int,
        size: int,
        *,
        frame_size: int,
        headroom: int = 0,
        fill_size: int,
        completion_size: int,
        flags: int = 0,
    ) -> None:
        self.fill, self.completion = Ring(), Ring()
        self._handle = ctypes.c_void_p()
        config = UmemConfig(fill_size, completion_size, frame_size, headroom, flags)
        result = libxdp().xsk_umem__create(
            ctypes.byref(self._handle),
            address,
            size,
            ctypes.byref(self.fill),
            ctypes.byref(self.completion),
            ctypes.byref(config),
        )
        if result:
            raise KernelError(
                "register UMEM",
                f"{size} bytes, frame size {frame_size}, headroom {headroom}",
                result,
                hint=_UMEM_HINTS.get(-result, ""),
            )

    @property
    def fd(self) -> int:
        """The UMEM's file descriptor: that of the first socket bound to it."""
        return int(libxdp().xsk_umem__fd(self._handle))

    @property
    def handle(self) -> ctypes.c_void_p:
        """`struct xsk_umem *`."""
        return self._handle

    def close(self) -> None:
        """Unregisters the UMEM; its sockets must be closed before.

        Raises:
            KernelError: EBUSY, a socket still uses it.
        """
        if not self._handle:
            return
        result = libxdp().xsk_umem__delete(self._handle)
        if result:
            raise KernelError("delete UMEM", "UMEM", result, hint="close its sockets first")
        self._handle = ctypes.c_void_p()

    def __enter__(self) -> XskUmem:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_UMEM_HINTS = {
    22: "frame size must be a power of two from 2048 to the page size (unaligned: any size between), "
    "headroom smaller than a frame less 256, ring sizes powers of two",
    105: "locked memory is limited: use fewer frames, raise RLIMIT_MEMLOCK or run with CAP_IPC_LOCK",
    1: "AF_XDP needs CAP_NET_RAW: run as root",
    97: "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)",
}
_BIND_HINTS = {
    16: "another AF_XDP socket holds this queue: end it (xdplab xskmap shows who), or choose another queue",
    95: "the device does not offer the mode that was asked for: use copy mode",
    19: "no such device in this network namespace",
    22: "the queue does not exist on this device, or ring sizes are no powers of two",
    1: "AF_XDP needs CAP_NET_RAW and CAP_NET_ADMIN: run as root",
    100: "the device is down: ip link set it up",
}


class XskSocket:
    """An AF_XDP socket bound to one queue of one device.

    Args:
        umem: where its frames live.
        ifname: the device, in the calling thread's network namespace.
        queue: RX/TX queue of the device, from 0.
        rx_size: entries of the RX ring, a power of two; 0 for none.
        tx_size: entries of the TX ring, a power of two; 0 for none.
        bind_flags: XDP_COPY, XDP_ZEROCOPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG.
        xdp_flags: XDP_FLAGS_* for the program that libxdp would load.
        inhibit_prog_load: libxdp loads no program and touches no map of its own.
        shared: give this socket its own fill and completion ring (another device or queue on the same UMEM).
            The UMEM's first socket uses the UMEM's own rings.

    Raises:
        KernelError: the bind was refused (EBUSY, EINVAL, ENODEV, EOPNOTSUPP …).
    """

    def __init__(
        self,
        umem: XskUmem,
        ifname: str,
        queue: int,
        *,
        rx_size: int,
        tx_size: int,
        bind_flags: int,
        xdp_flags: int = 0,
        inhibit_prog_load: bool = True,
        shared: bool = False,
    ) -> None:
        self.rx, self.tx = Ring(), Ring()
        self.fill = Ring() if shared else umem.fill
        self.completion = Ring() if shared else umem.completion
        self._handle = ctypes.c_void_p()
        config = SocketConfig(
            rx_size, tx_size, INHIBIT_PROG_LOAD if inhibit_prog_load else 0, xdp_flags, bind_flags
        )
        rx = ctypes.byref(self.rx) if rx_size else None
        tx = ctypes.byref(self.tx) if tx_size else None
        rings = [rx, tx]
        create = libxdp().xsk_socket__create
        if shared:
            create = libxdp().xsk_socket__create_shared
            rings += [ctypes.byref(self.fill), ctypes.byref(self.completion)]
        result = create(
            ctypes.byref(self._handle), ifname.encode(), queue, umem.handle, *rings, ctypes.byref(config)
        )
        if result:
            raise KernelError(
                "bind AF_XDP socket", f"{ifname} queue {queue}", result, hint=_BIND_HINTS.get(-result, "")
            )

    @property
    def fd(self) -> int:
        """The socket's file descriptor."""
        return int(libxdp().xsk_socket__fd(self._handle))

    def update_xskmap(self, map_fd: int) -> None:
        """Puts the socket into the XSKMAP, in the slot of its queue.

        Raises:
            KernelError: EINVAL where the map is no XSKMAP or too small for the queue.
        """
        result = libxdp().xsk_socket__update_xskmap(self._handle, map_fd)
        if result:
            raise KernelError(
                "put the socket into the XSKMAP",
                f"map fd {map_fd}",
                result,
                hint="the map must be an XSKMAP with more entries than the queue's number",
            )

    def close(self) -> None:
        """Closes the socket; the kernel takes it out of every XSKMAP."""
        if self._handle:
            libxdp().xsk_socket__delete(self._handle)
            self._handle = ctypes.c_void_p()

    def __enter__(self) -> XskSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def statistics(fd: int) -> dict[str, int]:
    """XDP_STATISTICS of an AF_XDP socket; three of them before Linux 5.9, six since.

    Raises:
        KernelError: the descriptor is no AF_XDP socket.
    """
    try:
        # Family and type are given, since AF_XDP has no getsockname() by which Python could find them.
        borrowed = socket.socket(AF_XDP, socket.SOCK_RAW, 0, fileno=fd)
        try:
            raw = borrowed.getsockopt(SOL_XDP, XDP_STATISTICS, 8 * len(STATISTICS))
        finally:
            borrowed.detach()  # the descriptor is its owner's to close
    except OSError as error:
        raise KernelError("read XDP_STATISTICS", f"descriptor {fd}", error.errno or 0) from error
    values = struct.unpack(f"{len(raw) // 8}Q", raw[: len(raw) // 8 * 8])
    return dict(zip(STATISTICS, values, strict=False))
