# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The minimal C loop on libxdp (`src/xsk_loop.c`), compiled when it is needed, as a process that counts."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from pathlib import Path

from labs.compiler import compile_c
from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError

SOURCE = Path(__file__).parent / "src" / "xsk_loop.c"
COUNTER_BYTES = 4096


def compile_yardstick(folder: Path) -> Path:
    """The program, compiled into a folder; raises as `compile_c`."""
    return compile_c(SOURCE, folder / "xsk_loop")


class Yardstick:
    """The loop, running; `close` ends it.

    Args:
        program: from `compile_yardstick`.
        namespace: where the devices are.
        cpu: where it runs.
        xskmap_fd: the XSKMAP of the program on `interface`.
        interface: where it receives, on queue 0.
        out: where it sends; "" to drop.
        busy_poll: busy polling.

    Raises:
        InputError: it could not start; says why.
    """

    def __init__(
        self,
        program: Path,
        namespace: NetNs,
        cpu: int,
        xskmap_fd: int,
        interface: str,
        out: str = "",
        *,
        busy_poll: bool = False,
    ) -> None:
        fd = os.memfd_create("xsk_loop", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, COUNTER_BYTES)
            self._counters = mmap.mmap(fd, COUNTER_BYTES)
            numbers = map(str, (cpu, xskmap_fd, fd, int(busy_poll)))
            argv = [str(program), *numbers, interface, *([out] if out else [])]
            with namespace.entered():
                self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=(xskmap_fd, fd))
        finally:
            os.close(fd)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise InputError("the yardstick could not start: see what it said above")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def counters(self) -> dict[str, int]:
        """Packets received and sent until now."""
        received, sent = struct.unpack_from("=2Q", self._counters)
        return {"rx_packets": received, "tx_packets": sent}

    def close(self) -> None:
        """Ends it; may be called again."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._counters.close()

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
