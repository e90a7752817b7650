# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A network namespace that we own by a file descriptor, so that it dies with us, however we die."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from labs.harness.runs import NAMESPACE_DIRECTORY, namespace_name
from xdp.netns import CLONE_NEWNET, enter
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

MS_BIND = 4096  # include/uapi/linux/mount.h
MNT_DETACH = 2

# `net.core.devconf_inherit_init_net` lets the host's IPv4 settings leak in: state what labs rely on.
BASE_SYSCTLS: Mapping[str, str] = {
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ip_forward": "0",
    "net/ipv4/icmp_echo_ignore_all": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}
NO_IPV6: Mapping[str, str] = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
# What settings can silence: duplicate address detection, router solicitation, link-local addresses.
QUIET_IPV6: Mapping[str, str] = {
    f"net/ipv6/conf/{scope}/{key}": value
    for scope in ("all", "default")
    for key, value in (
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("dad_transmits", "0"),
        ("accept_ra", "0"),
        ("router_solicitations", "0"),
        ("addr_gen_mode", "1"),
    )
}

_libc = ctypes.CDLL(None, use_errno=True)
_role_pattern = re.compile(r"[a-z][a-z0-9]{0,14}")
_run_pattern = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class LostNamespaceError(BaseException):
    """A thread could not return to its own namespace: nothing that it does from now on can be trusted.

    Not an `Exception`, so that no handler of ordinary errors lets the thread go on in the wrong namespace.
    """


class NetNs:
    """An anonymous network namespace with `lo` up; a context manager.

    Args:
        role: who this is in the topology ("gen", "dut"), a short lower-case word.
        run: the run's id; with the role it gives the name under which `pin` makes the namespace visible.
        ipv6: keep IPv6, as quiet as settings make it; otherwise it is switched off before any link exists.
        sysctls: further settings as path below /proc/sys → value, written last.

    Raises:
        InputError: the role or the run cannot be a name, or a setting does not exist.
        KernelError: the kernel refused (without CAP_SYS_ADMIN: EPERM).
    """

    def __init__(
        self, role: str, run: str, *, ipv6: bool = False, sysctls: Mapping[str, str] | None = None
    ) -> None:
        if not _role_pattern.fullmatch(role):
            raise InputError(f"namespace role {role!r}: use 1 to 15 lower-case letters and digits")
        if not _run_pattern.fullmatch(run):
            raise InputError(f"run id {run!r}: use at most 64 letters, digits, '_', '.', '-'")
        self.role = role
        self.run = run
        self.name = namespace_name(run, role)
        self.ipv6 = ipv6
        settings = {**BASE_SYSCTLS, **(QUIET_IPV6 if ipv6 else NO_IPV6), **(sysctls or {})}
        self._undo = contextlib.ExitStack()
        self._pin: Path | None = None
        self._fd = _create(self.name, settings)
        self._undo.callback(self._close_fd)
        try:
            self.inode = os.fstat(self._fd).st_ino
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor that keeps the namespace alive.

        Raises:
            InputError: the namespace is closed.
        """
        if self._fd < 0:
            raise InputError(f"namespace {self.name} is closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    @property
    def pinned(self) -> Path | None:
        """Where the namespace is bind-mounted, or None."""
        return self._pin

    @contextlib.contextmanager
    def entered(self) -> Iterator[NetNs]:
        """Switch the calling thread into the namespace, and back at the end.

        Only this thread switches. What it creates inside (sockets, child processes) stays inside for good.

        Raises:
            KernelError: the kernel refused to switch.
            LostNamespaceError: the way back failed.
        """
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stayed = False
        try:
            # Inside the try: an interrupt right after the switch must still find the way back.
            try:
                enter(self.fd, self.name)
            except KernelError:
                stayed = True  # whom the kernel refuses the way there it would refuse the way back, too
                raise
            yield self
        finally:
            try:
                if not stayed:
                    enter(own, "the thread's own namespace")
            except KernelError as error:
                raise LostNamespaceError(f"thread stays in namespace {self.name}: {error}") from error
            finally:
                os.close(own)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace, usable from anywhere; arguments as for `socket.socket`."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def netlink(self) -> IPRoute:
        """A route netlink socket in this namespace; the caller closes it, and uses it in this thread only.

        The socket is opened while inside: asking pyroute2 for a namespace would start a helper process.
        """
        from pyroute2 import IPRoute  # costs 160 ms: not for those who only ask for `--help`

        with self.entered():
            return IPRoute()

    def interface_index(self, interface: str) -> int:
        """The index of an interface in this namespace.

        Raises:
            InputError: there is none of that name.
        """
        with self.entered():
            try:
                return socket.if_nametoindex(interface)
            except OSError:
                names = ", ".join(name for _, name in socket.if_nameindex())
                raise InputError(f"no interface {interface!r} in {self.role}; there is {names}") from None

    def pin(self) -> Path:
        """Bind-mount at /run/netns/<name>, so that `ip netns exec` works and the namespace outlives us.

        Raises:
            KernelError: the name exists already, or the mount was refused.
        """
        if self._pin is None:
            path = NAMESPACE_DIRECTORY / self.name
            with contextlib.ExitStack() as undo:
                try:
                    NAMESPACE_DIRECTORY.mkdir(parents=True, exist_ok=True)
                    path.touch(mode=0o444, exist_ok=False)
                    undo.callback(path.unlink, missing_ok=True)
                except OSError as error:
                    hint = "remove it with `xdplab cleanup`" if error.errno == errno.EEXIST else ""
                    raise KernelError("pin namespace", str(path), error.errno or 0, hint) from error
                source = f"/proc/self/fd/{self.fd}".encode()
                if _libc.mount(source, str(path).encode(), b"none", ctypes.c_ulong(MS_BIND), None) != 0:
                    raise KernelError("pin namespace", str(path), ctypes.get_errno())
                self._pin = path
                undo.pop_all()
                self._undo.callback(self.unpin)
        return self._pin

    def unpin(self) -> None:
        """Take the name away again; the namespace lives on as long as we hold it. Idempotent."""
        path, self._pin = self._pin, None
        if path is not None:
            remove_pin(path)

    def keep(self) -> Path:
        """Pin, and leave the pin behind at `close`: for a look around after the run.

        Returns:
            The path, to be removed by `remove_pin`.
        """
        path = self.pin()
        self._pin = None
        return path

    def close(self) -> None:
        """Let go of the namespace; the kernel destroys it, with its links, once nothing else lives in it."""
        self._undo.close()

    def __enter__(self) -> NetNs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"NetNs({self.name!r}, {'closed' if self.closed else f'inode={self.inode}'})"

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def remove_pin(path: Path) -> None:
    """Unmount and remove a pinned namespace; fine if it is gone already.

    Raises:
        KernelError: the mount or the file could not be removed.
    """
    if _libc.umount2(str(path).encode(), MNT_DETACH) != 0 and ctypes.get_errno() not in (
        errno.EINVAL,  # not a mount point: only the file is left
        errno.ENOENT,
    ):
        raise KernelError("unpin namespace", str(path), ctypes.get_errno())
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise KernelError("remove namespace name", str(path), error.errno or 0) from error


def _create(name: str, settings: Mapping[str, str]) -> int:
    """Make a namespace in a thread of its own, since `unshare` moves the calling thread for good."""
    result: list[int] = []
    failure: list[BaseException] = []

    def create() -> None:
        try:
            if _libc.unshare(CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                hint = "run as root" if code == errno.EPERM else ""
                raise KernelError("create network namespace", name, code, hint)
            # /proc/sys/net shows the namespace of the thread that opens it.
            for key, value in settings.items():
                _write_sysctl(key, value)
            _bring_up_loopback()
            result.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException as error:  # noqa: BLE001 (carried over to the calling thread, raised there)
            failure.append(error)

    thread = threading.Thread(target=create, name=f"create-{name}")
    thread.start()
    try:
        thread.join()
    except BaseException:
        thread.join()  # an interrupt while waiting: the thread is short, and its descriptor is ours to close
        for fd in result:
            os.close(fd)
        raise
    if failure:
        raise failure[0]
    return result[0]


def _write_sysctl(key: str, value: str) -> None:
    path = Path("/proc/sys") / key
    try:
        path.write_text(value)
    except FileNotFoundError:
        if key.startswith("net/ipv6/") and not Path("/proc/sys/net/ipv6").exists():
            return  # a kernel without IPv6 is as quiet as one can be
        raise InputError(f"setting {key!r} does not exist on this kernel: correct the spec") from None
    except OSError as error:
        raise KernelError("write setting", f"{key} = {value}", error.errno or 0) from error


def _bring_up_loopback() -> None:
    """Set IFF_UP by ioctl: one socket and two calls, where a netlink socket would cost a millisecond."""
    import fcntl
    import struct

    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1  # include/uapi/linux/sockios.h, if.h
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, siocgifflags, request))[1]
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh14x", b"lo", flags | iff_up))
