# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Gives up, for good, what a forwarder needs no more once its sockets are bound.

Sending, receiving, polling and reading statistics of a bound AF_XDP socket ask for no capability
(net/xdp/xsk.c); registering, binding, entering a map and setting busy polling do, and are over by then.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any, NamedTuple

from xdp.pyxdp.errors import InputError, KernelError

# linux/prctl.h
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
CAP_IPC_LOCK = 14
CAP_BITS = 64

_libc = ctypes.CDLL(None, use_errno=True)


class User(NamedTuple):
    """Whom to become; the group is the user's own unless one was named."""

    uid: int
    gid: int


def find_user(text: str) -> User:
    """NAME, UID, NAME:GROUP or UID:GID.

    Raises:
        InputError: there is no such user or group.
    """
    import grp
    import pwd

    name, colon, group = text.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid = entry.pw_uid, entry.pw_gid
    except (KeyError, OverflowError):
        if not name.isdecimal():
            raise InputError(f"--user {text}: there is no user {name!r} (getent passwd)") from None
        if not colon:
            raise InputError(f"--user {text}: user {name} has no entry: write UID:GID") from None
        uid, gid = int(name), 0
    if colon:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise InputError(f"--user {text}: there is no group {group!r} (getent group)") from None
    if max(uid, gid) >= 2**32 - 1:  # -1 means "leave it" to the kernel
        raise InputError(f"--user {text}: ids end at {2**32 - 2}")
    return User(uid, gid)


def drop(user: User | None) -> None:
    """Becomes the user, if one is given, then gives up every capability and all ways to get one back.

    To be called before the process starts threads: the kernel keeps capabilities by thread. The signal
    at a parent's death is forgotten by the kernel when the user changes.

    Raises:
        InputError: changing the user is not allowed; or a library's thread kept its capabilities.
        KernelError: the kernel refused otherwise.
    """
    for capability in range(CAP_BITS):
        if _libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            break  # the kernel knows no more
        # EPERM without CAP_SETPCAP: then no_new_privs alone keeps exec() from giving any back.
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if user is not None:
        _become(user)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _call("drop capabilities", _libc.capset(header, (ctypes.c_uint32 * 6)()))
    _call("set no_new_privs", _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check_threads()


def _become(user: User) -> None:
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except PermissionError:
        raise InputError(
            f"--user: becoming {user.uid}:{user.gid} needs CAP_SETUID and CAP_SETGID: "
            "run as root, or leave --user out"
        ) from None
    except OSError as error:
        hint = "no such id in this user namespace" if error.errno == errno.EINVAL else ""
        raise KernelError("change user", f"{user.uid}:{user.gid}", error.errno or 0, hint) from None


def _call(operation: str, result: int) -> None:
    if result:
        raise KernelError(operation, "this process", ctypes.get_errno())


def _check_threads() -> None:
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 (pathlib would be a tenth of a forwarder's start)
        status = _status(f"/proc/self/task/{thread}/status")
        if int(status["CapPrm"], 16):
            raise InputError(
                f"the thread {status['Name']} ({thread}), of a library that was loaded before, keeps its "
                "capabilities: give --user too, or --keep-privileges"
            )


def standing() -> dict[str, Any]:
    """Who this process is now, asked back from the kernel."""
    status = _status("/proc/self/status")
    return {
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "groups": os.getgroups(),
        "capabilities": status["CapEff"],
        "no_new_privs": status["NoNewPrivs"] == "1",
    }


def has_capability(number: int) -> bool:
    """Whether this thread may use a capability (CAP_*, linux/capability.h)."""
    return bool(int(_status("/proc/self/status")["CapEff"], 16) >> number & 1)


def _status(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as above)
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
