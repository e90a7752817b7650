# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Undoes what would outlive this process, also after SIGKILL and after privileges were given up."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

# Waits for the end of whoever holds the other end of its standard input. It has a session of its own, so
# that neither Ctrl-C nor a signal to the forwarder's group ends it before.
_CODE = """
import os, sys
os.read(0, 1)
for given in sys.argv[1:]:
    what, number, text = given.split("=", 2)
    try:
        if what == "write":
            os.write(int(number), text.encode())
        elif os.lstat(text).st_ino == int(number):
            os.unlink(text)
    except OSError:
        pass
"""
_SECONDS = 10


class Guard:
    """A small process that waits for our end, or for `close`, with the privileges of this moment.

    Args:
        writes: descriptor and text to write there.
        unlinks: inode and path to remove, if it still is that inode.
    """

    def __init__(
        self, *, writes: Sequence[tuple[int, str]] = (), unlinks: Sequence[tuple[int, str]] = ()
    ) -> None:
        import subprocess  # rarely needed, and dear at start

        arguments = [f"write={fd}={text}" for fd, text in writes]
        arguments += [f"unlink={inode}={path}" for inode, path in unlinks]
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CODE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[fd for fd, _ in writes],
            start_new_session=True,
        )

    def close(self) -> None:
        """Undoes now, and waits until that is done; may be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        import subprocess

        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):  # we are another user by now
                process.kill()
                process.wait()
