# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The way back into the host's own stack: a TAP device that stands for an interface.

A packet that XDP gave to an AF_XDP socket is lost for the stack. What is written to a TAP comes in anew, as
if from a wire. For it to be received as it would have been on the interface:

- The TAP has the interface's own MAC address, so that frames are as much "for us" as they were there.
- It has no IP address. Linux takes a packet for any of its addresses on any interface (the weak host model):
  a socket bound to the interface's addresses, or to any, receives. What a socket answers goes the routing
  table's way, out of the interface: the TAP is for receiving only.
- So that nothing is ever sent out of it: no ARP (IFF_NOARP), no IPv6 link-local address. ARP and neighbour
  solicitations that come in by it are not answered; let the XDP program pass them.
- Source validation (rp_filter) would drop every packet, as its way back leads elsewhere: it is off for the
  TAP. The kernel takes the stricter of the TAP's and of `conf.all`: where that is not 0, this is an error.
- A socket bound to the interface (SO_BINDTODEVICE), and captures on it, do not see what comes by the TAP.

- The kernel takes a frame through the stack before the call returns, so it is never full by itself. It
  refuses with EIO while it is down, with EBADFD once it was removed, and with EAGAIN only where another
  process limits the send buffer of its queues (TUNSETSNDBUF) and something, a slow qdisc say, holds back what
  was written.

A TAP takes one frame a system call. It lives as long as the forwarder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct

from xdp.pyxdp.errors import InputError, KernelError

from . import netdev

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_TUN_EXCL = 0x8000
# linux/sockios.h, linux/if.h, linux/if_arp.h
SIOCSIFFLAGS = 0x8914
SIOCGIFMTU = 0x8921
SIOCSIFMTU = 0x8922
SIOCSIFHWADDR = 0x8924
IFF_NOARP = 0x80
ARPHRD_ETHER = 1
TUN = "/dev/net/tun"
GEN_MODE_NONE = "1"  # IN6_ADDR_GEN_MODE_NONE, linux/if_link.h


class HostTap:
    """A TAP of our own that stands for an interface, up; a context manager.

    Args:
        name: of the TAP, at most 15 characters; there must be none of that name.
        interface: the device whose packets will be written to it, in the calling thread's network namespace.
        queues: how many threads write to it; each has a descriptor of its own.

    Attributes:
        fds: a descriptor for each queue, not blocking.

    Raises:
        InputError: the name is taken, there are no TAPs here, or source validation would drop all.
        KernelError: the kernel refused.
    """

    def __init__(self, name: str, interface: str, queues: int = 1) -> None:
        self.name = name
        self.fds: list[int] = []
        with contextlib.ExitStack() as on_error:
            on_error.callback(self.close)
            self._open(queues)
            self._set_up(interface)
            on_error.pop_all()

    def _open(self, queues: int) -> None:
        flags = IFF_TAP | IFF_NO_PI | (IFF_MULTI_QUEUE if queues > 1 else 0)
        for queue in range(queues):
            try:
                fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise InputError(
                    f"--host-tap {self.name}: {TUN}: {error.strerror}; load the module tun, as root"
                ) from error
            self.fds.append(fd)
            # Only the first may make the device: one that is there already is somebody else's.
            request = struct.pack("16sH22x", self.name.encode(), flags | (0 if queue else IFF_TUN_EXCL))
            try:
                fcntl.ioctl(fd, TUNSETIFF, request)
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL) and netdev.exists(self.name):
                    raise InputError(
                        f"--host-tap {self.name}: there is an interface of that name; choose another"
                    ) from error
                if error.errno == errno.EPERM:
                    raise InputError(
                        f"--host-tap {self.name}: needs CAP_NET_ADMIN; run it as root"
                    ) from error
                raise KernelError("make TAP", self.name, error.errno or 0) from error

    def _set_up(self, interface: str) -> None:
        mtu = netdev.ask(SIOCGIFMTU, interface)[:4]
        mac = struct.pack("H6s", ARPHRD_ETHER, netdev.mac(interface))
        try:
            netdev.ask(SIOCSIFHWADDR, self.name, mac)
            netdev.ask(SIOCSIFMTU, self.name, mtu)
            self._set_sysctls()
            netdev.ask(SIOCSIFFLAGS, self.name, struct.pack("H", netdev.IFF_UP | IFF_NOARP))
        except OSError as error:
            raise KernelError("set up TAP", self.name, error.errno or 0) from error

    def _set_sysctls(self) -> None:
        strictness = _read("ipv4/conf/all/rp_filter")
        if strictness not in ("0", None):
            raise InputError(
                f"--host-tap {self.name}: net.ipv4.conf.all.rp_filter is {strictness}, so the kernel would "
                "drop all that comes by the TAP: sysctl -w net.ipv4.conf.all.rp_filter=0"
            )
        for name, value in (
            (f"ipv4/conf/{self.name}/rp_filter", "0"),
            (f"ipv6/conf/{self.name}/addr_gen_mode", GEN_MODE_NONE),
            (f"ipv6/conf/{self.name}/accept_ra", "0"),
        ):
            if _read(name) not in (value, None):
                try:
                    _write(name, value)
                except OSError as error:
                    sysctl = f"net.{name.replace('/', '.')}"
                    raise InputError(
                        f"--host-tap {self.name}: cannot set {sysctl} to {value} ({error.strerror}); "
                        f"set {sysctl.replace(self.name, 'default')} before"
                    ) from error

    def close(self) -> None:
        """Removes the TAP with its last descriptor; may be called again."""
        while self.fds:
            os.close(self.fds.pop())

    def __enter__(self) -> HostTap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(sysctl: str) -> str | None:
    """A setting of the calling thread's network namespace; None where the kernel has none (no IPv6, say)."""
    try:
        with open(f"/proc/sys/net/{sysctl}", encoding="ascii") as file:  # noqa: PTH123 (pathlib is dear at start)
            return file.read().strip()
    except FileNotFoundError:
        return None


def _write(sysctl: str, value: str) -> None:
    with open(f"/proc/sys/net/{sysctl}", "w", encoding="ascii") as file:  # noqa: PTH123 (as above)
        file.write(value)
