# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A packet socket on a device: sends the suite's frames, receives those that reach the stack there."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence

from labs.conformance.frames import ETHERTYPE
from labs.conformance.waiting import Deadline
from labs.harness.netns import NetNs

BUFFER_BYTES = 4 << 20
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module does not name it


class Tap:
    """Frames of one EtherType on one device; a context manager. Needs no XDP there."""

    def __init__(self, namespace: NetNs, interface: str, ethertype: int = ETHERTYPE) -> None:
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            # Bound to one EtherType, the socket does not see what it sends itself.
            self._socket.bind((interface, ethertype))
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    def send(self, frames: Sequence[bytes]) -> None:
        """Sends each, waiting where the device's queue is full."""
        deadline = Deadline()
        for data in frames:
            while True:
                try:
                    self._socket.send(data)
                    break
                except (BlockingIOError, OSError):
                    if deadline.over:
                        raise
                    self._poller.poll(1)

    def receive(self, count: int, *, seconds: float | None = None) -> list[bytes]:
        """Waits for that many frames, and takes all that are there by then; fewer when time is up."""
        frames: list[bytes] = []
        deadline = Deadline(seconds)
        while True:
            with contextlib.suppress(BlockingIOError):
                while True:
                    frames.append(self._socket.recv(65536))
            if len(frames) >= count or deadline.over:
                return frames
            self._poller.poll(deadline.left * 1000)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
