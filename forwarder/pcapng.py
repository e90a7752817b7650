# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pcapng file of what the forwarder received: tcpdump and Wireshark cannot see what AF_XDP took.

The loops put finished blocks into rings (csrc/capture.c); a thread of its own writes them to the file. The
loops never wait for the file: what finds no room in the ring is skipped, and counted. Times are those of the
batch. Between two writes, which are a tenth of a second apart at most, the file ends with a whole block.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import sys
import threading
from typing import Any

from xdp.pyxdp.errors import InputError

from . import _batch
from .spec import ForwarderSpec

RING_BYTES = 8 << 20  # 90,000 packets of 60 bytes: some 30 ms of all that one core receives
WRITE_EVERY_MS = 100
# https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
SECTION_BLOCK, INTERFACE_BLOCK = 0x0A0D0D0A, 1
BYTE_ORDER = 0x1A2B3C4D
LINKTYPE_ETHERNET = 1
END, SHB_USERAPPL, IF_NAME, IF_DESCRIPTION, IF_TSRESOL = 0, 4, 2, 3, 9
NANOSECONDS = b"\x09"


def block(kind: int, body: bytes) -> bytes:
    """A block in this machine's byte order."""
    size = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + size + body + size


def options(*pairs: tuple[int, bytes]) -> bytes:
    """The options at the end of a block."""
    padded = (struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs)
    return b"".join(padded) + struct.pack("=HH", END, 0)


class PcapngSink:
    """The file and the thread that writes it; a context manager.

    Args:
        spec: whose `pcapng` names the file, which is made anew.

    Attributes:
        captures: what each queue's loop is given, in the order of the spec's interfaces and queues.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, spec: ForwarderSpec) -> None:
        self.path = spec.pcapng
        self.bytes = 0
        self.error = ""
        self._thread: threading.Thread | None = None
        self._ending = False
        places = [(part, queue) for part in spec.each_interface() for queue in spec.queues]
        others = [spec.out] if spec.both_ways else []
        with contextlib.ExitStack() as on_error:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
                on_error.callback(os.close, self._fd)
                self._write_head(
                    [(side, queue) for part, queue in places for side in (part.interface, *others)],
                    spec.pcapng_snap,
                )
            except OSError as error:
                raise InputError(f"--pcapng {self.path}: {error.strerror}") from error
            self._woken_fd, self._wake_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self.captures = [
                _batch.Capture(
                    RING_BYTES,
                    place * (1 + len(others)),
                    snap=spec.pcapng_snap,
                    marked=spec.pcapng_marked,
                    wake_fd=self._wake_fd,
                )
                for place in range(len(places))
            ]
            on_error.pop_all()

    def _write_head(self, interfaces: list[tuple[str, int]], snap: int) -> None:
        head = struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1)
        data = block(SECTION_BLOCK, head + options((SHB_USERAPPL, b"xdplab forward")))
        for name, queue in interfaces:
            named = (IF_NAME, name.encode()), (IF_DESCRIPTION, f"{name} queue {queue}".encode())
            body = struct.pack("=HHI", LINKTYPE_ETHERNET, 0, snap)
            data += block(INTERFACE_BLOCK, body + options(*named, (IF_TSRESOL, NANOSECONDS)))
        self.bytes = os.write(self._fd, data)

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._work, name="pcapng")
        self._thread.start()

    def _work(self) -> None:
        poll = select.poll()
        poll.register(self._woken_fd, select.POLLIN)
        while not self._ending:
            if poll.poll(WRITE_EVERY_MS):
                os.read(self._woken_fd, 4096)
            self._write()

    def _write(self) -> None:
        if self.error:
            return
        for capture in self.captures:
            try:
                self.bytes += capture.write(self._fd)
            except OSError as error:
                self.error = error.strerror or str(error)
                print(
                    f"xdplab: --pcapng {self.path}: {self.error}; nothing more is captured", file=sys.stderr
                )
                # The last block may be cut off: what was known to be whole stays.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self.bytes)
                return

    def finish(self) -> dict[str, Any]:
        """Writes what is left, once the loops have ended; returns what is in the file, for the report."""
        if self._thread is not None:
            self._ending = True
            os.write(self._wake_fd, b"!")
            self._thread.join()
            self._thread = None
        self._write()
        return {"file": self.path, "bytes": self.bytes, "error": self.error}

    def close(self) -> None:
        """Ends the thread and closes the file; may be called again."""
        if self._fd >= 0:
            self.finish()
            for fd in (self._woken_fd, self._wake_fd, self._fd):
                os.close(fd)
            self._fd = -1

    def __enter__(self) -> PcapngSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
