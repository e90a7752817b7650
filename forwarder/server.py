# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The statistics of a running forwarder over a Unix socket: connect, read one JSON object, end of file.

By default its name is abstract (`@xdplab/forward/PID`), so that nothing can be left behind, however the
forwarder ends. Abstract names belong to a network namespace: readers enter the forwarder's, or find it by
/proc/PID/net/unix (`xdplab stats` does). They have no mode either: who is neither root nor the forwarder's
user gets nothing. A path is reached from every namespace that shares the file system, its mode is 0600, and
a guard removes it, also where the forwarder is killed or may not do so itself any more.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from xdp.pyxdp.errors import InputError

from .guard import Guard

PREFIX = "xdplab/forward/"
BACKLOG = 64
CLIENT_S = 0.5  # a snapshot fits into a socket's buffer, so who needs longer does not read
READ_S = 5.0
SIZE_MAX = 4 << 20  # far above any snapshot: a reader must not be flooded either
_NAMES = 10  # two containers on one network namespace may have the same pid


class StatsServer:
    """Answers readers from a thread of its own until it is closed.

    Args:
        where: "auto" for an abstract name; else a path.
        owner: uid to whom a path is given, beside root.

    Raises:
        InputError: the path cannot be used, or a living forwarder uses it.
    """

    def __init__(self, where: str, owner: int) -> None:
        self._path = "" if where == "auto" else where
        self._owner = owner
        self._thread: threading.Thread | None = None
        self._guard: Guard | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if self._path:
                _bind_path(self._socket, self._path, owner)
                inode = os.stat(self._path).st_ino  # noqa: PTH116 (pathlib is dear at start)
                self._guard = Guard(unlinks=[(inode, os.path.abspath(self._path))])  # noqa: PTH100 (as above)
            else:
                _bind_name(self._socket)
            self._socket.listen(BACKLOG)
        except BaseException:
            self._socket.close()
            raise

    @property
    def address(self) -> str:
        """The path, or the abstract name behind an @, as `ss -xl` shows it."""
        return self._path or shown(self._socket.getsockname())

    def start(self, take: Callable[[], dict[str, Any]]) -> None:
        """Begins to answer.

        Args:
            take: makes a snapshot; called in the server's thread until `stop`.
        """
        self._thread = threading.Thread(target=self._serve, args=(take,), name="stats", daemon=True)
        self._thread.start()

    def _serve(self, take: Callable[[], dict[str, Any]]) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except (
                OSError
            ):  # EINVAL after shutdown(); where accept itself fails there is nothing to go on with
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(CLIENT_S)
                if _peer(client)[1] in (0, self._owner):
                    client.sendall(json.dumps(take()).encode() + b"\n")

    def stop(self) -> None:
        """Answers no more: from here on nothing calls `take`. May be called again."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Stops and removes the path, if it is still ours; may be called again."""
        self.stop()
        self._socket.close()
        if self._guard is not None:
            self._guard.close()


def _bind_name(server: socket.socket) -> None:
    for number in range(_NAMES):
        name = f"{PREFIX}{os.getpid()}" + (f".{number}" if number else "")
        try:
            server.bind(b"\0" + name.encode())
        except OSError:
            continue
        return
    raise InputError(f"--stats-socket auto: all of @{PREFIX}{os.getpid()}… are taken: give a path, or none")


def _bind_path(server: socket.socket, path: str, owner: int) -> None:
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and _abandoned(path):
            os.unlink(path)  # noqa: PTH108 (as above)
    mask = os.umask(0o177)
    try:
        server.bind(path)
        if owner != os.geteuid():
            os.chown(path, owner, -1)
    except OSError as error:
        reason = (
            "something is there, or a living forwarder uses it"
            if error.errno == errno.EADDRINUSE
            else error.strerror
        )
        raise InputError(f"--stats-socket {path}: {reason or error}: give another path") from None
    finally:
        os.umask(mask)


def _abandoned(path: str) -> bool:
    """Whether nobody listens there: it was left by who knows whom, or at a power cut."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(CLIENT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the other end, as the kernel knows them."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def shown(address: bytes | str) -> str:
    """A Unix address as people write it: an abstract name begins with @."""
    text = address if isinstance(address, str) else address.decode(errors="replace")
    return "@" + text[1:] if text.startswith("\0") else text


def read(address: str) -> dict[str, Any]:
    """One snapshot from a path, or from an abstract name (@…) of the calling thread's network namespace.

    Its "pid" is the one that the kernel gives, in the caller's PID namespace, where it is visible there.

    Raises:
        InputError: no forwarder answers there, or what answers is none.
    """
    deadline = time.monotonic() + READ_S
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
            client.settimeout(READ_S)
            client.connect("\0" + address[1:] if address.startswith("@") else address)
            pid, _ = _peer(client)
            while chunk := client.recv(1 << 16):
                data += chunk
                if len(data) > SIZE_MAX or time.monotonic() > deadline:
                    raise InputError(f"{address}: what answers there is no forwarder")
    except OSError as error:
        raise InputError(f"{address}: no forwarder answers there ({error.strerror or error})") from None
    if not data:
        raise InputError(f"{address}: it answers only root and its own user: use sudo")
    try:
        message = json.loads(data)
        if message["type"] != "snapshot":
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{address}: what answers there is no forwarder") from None
    if pid:
        message["pid"] = pid
    return dict(message)
