# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Lines to stdout that never wait for a reader: while they would, no signal could end the forwarder."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

CHUNK = 4096  # PIPE_BUF: of a pipe that poll() calls writable, at least so much is taken at once


class Stdout:
    """Whole lines, or none; whoever closed the other end does not want them.

    Args:
        fd: where they go; None for stdout.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = sys.stdout.fileno() if fd is None else fd
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def offer(self, line: str) -> bool:
        """Writes a line, as far as its reader has room; the rest of it goes before the next.

        Returns:
            False, with nothing of the line written, while an earlier one waits for its reader.
        """
        if not self._flush(0):
            return False
        self._rest = line.encode() + b"\n"
        self._flush(0)
        return True

    def insist(self, line: str, patience_s: float) -> bool:
        """Writes a line and all that waits; gives up when the reader takes nothing for so long."""
        self._rest += line.encode() + b"\n"
        return self._flush(patience_s)

    def _flush(self, patience_s: float) -> bool:
        with contextlib.suppress(BrokenPipeError):
            deadline = time.monotonic() + patience_s
            while self._rest:
                if not self._poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                    return False
                self._rest = self._rest[os.write(self._fd, self._rest[:CHUNK]) :]
                deadline = time.monotonic() + patience_s
        self._rest = b""
        return True
