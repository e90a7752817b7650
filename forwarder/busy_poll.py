# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Busy polling: the thread that asks for packets lets the kernel receive them, instead of interrupts.

Two halves belong together (Documentation/networking/napi.rst): a socket that prefers to be polled, and a
device whose NAPI holds its interrupts back for as long as somebody polls.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass

from xdp.pyxdp.errors import InputError, KernelError
from xdp.pyxdp.sysfs import open_sysfs
from xdp.pyxdp.xsk import SO_PREFER_BUSY_POLL

from .guard import Guard

# asm-generic/socket.h; the socket module names none of them
SO_BUSY_POLL = 46
SO_BUSY_POLL_BUDGET = 70

SETTINGS = ("napi_defer_hard_irqs", "gro_flush_timeout")


@dataclass(frozen=True)
class BusyPoll:
    """What a socket has of busy polling.

    Attributes:
        prefer: SO_PREFER_BUSY_POLL.
        usecs: SO_BUSY_POLL, how long one call may poll, in microseconds.
        budget: SO_BUSY_POLL_BUDGET, most packets that one call may receive.
    """

    prefer: bool
    usecs: int
    budget: int


def ask(options: socket.socket, usecs: int, budget: int) -> None:
    """Makes a socket prefer busy polling.

    Raises:
        KernelError: EPERM without CAP_NET_ADMIN, ENOPROTOOPT before Linux 5.11.
    """
    for name, option, value in (
        ("SO_PREFER_BUSY_POLL", SO_PREFER_BUSY_POLL, 1),
        ("SO_BUSY_POLL", SO_BUSY_POLL, usecs),
        ("SO_BUSY_POLL_BUDGET", SO_BUSY_POLL_BUDGET, budget),
    ):
        try:
            options.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError as error:
            raise KernelError(
                f"set {name}",
                str(value),
                error.errno or 0,
                hint="busy polling needs CAP_NET_ADMIN and Linux 5.11: leave --busy-poll out",
            ) from error


def granted(options: socket.socket) -> BusyPoll:
    """What the kernel says of a socket's busy polling; all zero where it knows none.

    The budget cannot be asked back: no kernel up to 6.18 has it in getsockopt().
    """
    values = []
    for option in (SO_PREFER_BUSY_POLL, SO_BUSY_POLL, SO_BUSY_POLL_BUDGET):
        try:
            values.append(struct.unpack("i", options.getsockopt(socket.SOL_SOCKET, option, 4))[0])
        except OSError:
            values.append(0)
    return BusyPoll(bool(values[0]), values[1], values[2])


class NapiDeferral:
    """Interrupts of some devices held back while somebody polls them; restored at `close`.

    Also after a SIGKILL, and after this process has given up its privileges.

    Args:
        interfaces: the devices, in this network namespace.
        defer_hard_irqs: how often NAPI may find nothing before the interrupt is enabled again.
        gro_flush_timeout: nanoseconds after which the kernel polls by itself where nobody else does.

    Raises:
        InputError: no such device.
        KernelError: the kernel refused.
    """

    def __init__(self, interfaces: tuple[str, ...], defer_hard_irqs: int, gro_flush_timeout: int) -> None:
        self.before: dict[str, tuple[int, ...]] = {}
        self._guard: Guard | None = None
        wanted = (defer_hard_irqs, gro_flush_timeout)
        with contextlib.ExitStack() as files, contextlib.ExitStack() as on_error:
            root = open_sysfs()
            files.callback(os.close, root)
            fds: list[int] = []
            for interface in interfaces:
                found = []
                for setting in SETTINGS:
                    fds.append(_open(root, interface, setting))
                    files.callback(os.close, fds[-1])
                    found.append(int(os.pread(fds[-1], 32, 0)))
                self.before[interface] = tuple(found)
            old = [value for values in self.before.values() for value in values]
            self._guard = Guard(writes=[(fd, str(value)) for fd, value in zip(fds, old, strict=True)])
            on_error.callback(self.close)
            for fd, value in zip(fds, wanted * len(interfaces), strict=True):
                try:
                    os.pwrite(fd, str(value).encode(), 0)
                except OSError as error:
                    raise KernelError("defer interrupts", ", ".join(interfaces), error.errno or 0) from error
            on_error.pop_all()

    def close(self) -> None:
        """Restores what was there before, and waits until that is done; may be called again."""
        if self._guard is not None:
            self._guard.close()

    def __enter__(self) -> NapiDeferral:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(root: int, interface: str, setting: str) -> int:
    try:
        return os.open(f"class/net/{interface}/{setting}", os.O_RDWR | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError as error:
        raise InputError(
            f"{interface} has no setting {setting}: busy polling needs Linux 5.11, leave --busy-poll out"
        ) from error
    except OSError as error:
        raise KernelError(f"open {setting}", interface, error.errno or 0) from error
