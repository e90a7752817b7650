# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab` as a process of its own, for tests: what it said, and what it left on the machine."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labs.harness import leftovers, runs
from labs.harness.patience import patient
from xdp.pyxdp import kernel

PATIENCE_S = 20.0
# The folder of this interpreter's commands comes first, so that printed commands find this xdplab.
PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MAIN = "import sys; from labs.harness.cli import main; sys.exit(main())"


@dataclass
class Command:
    """A running or ended `xdplab …`."""

    process: subprocess.Popen[str]
    devices: frozenset[str]
    out: str = ""
    err: str = ""

    def read_until(self, pattern: str) -> None:
        """Reads until the output has the pattern."""
        deadline = time.monotonic() + patient(PATIENCE_S)
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while not re.search(pattern, self.out):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} within {PATIENCE_S:g} s in: {self.out}")
            chunk = os.read(fd, 65536)
            if not chunk:
                raise AssertionError(f"ended with {self.finish()} without {pattern!r}: {self.out}{self.err}")
            self.out += chunk.decode(errors="replace")

    def finish(self, timeout_s: float = PATIENCE_S) -> int:
        """Waits for its end, takes in the rest of its output, and gives the exit code."""
        out, err = self.process.communicate(timeout=patient(timeout_s))
        self.out += out or ""
        self.err += err
        return self.process.returncode

    def left(self) -> list[str]:
        """What it left: all that carries the id of a run of this process, and devices of the host."""
        pid = self.process.pid
        mine = [
            f"{one.kind} {one.name}" for one in leftovers.find() if int(one.run.partition("_")[0], 36) == pid
        ]
        new = frozenset(name for _, name in socket.if_nameindex()) - self.devices
        return [*mine, *(f"device {name}" for name in new)]

    def leaves_nothing(self, seconds: float = 0.0) -> bool:
        """Whether nothing is left, at the latest after this time."""
        return comes_true(lambda: not self.left(), seconds)


@dataclass(frozen=True)
class Standing:
    """What a pipeline that stands consists of, by the kernel's numbers."""

    program: int
    xskmap: int
    forwarder: int

    @classmethod
    def of(cls, command: Command) -> Standing:
        """From the report; the text may be wrapped anywhere."""
        command.read_until(r"(?s)pid \d+\W.*XSKMAP \d+\s")
        text = " ".join(command.out.split())
        numbers = [re.search(p, text) for p in (r"program (\d+)", r"XSKMAP (\d+)", r"pid (\d+)")]
        assert all(numbers), text
        return cls(*(int(found[1]) for found in numbers if found))

    def alive(self) -> list[str]:
        """Those parts that are still there."""
        found = []
        if self.program in kernel.prog_ids():
            found.append(f"program {self.program}")
        if self.xskmap in kernel.map_ids():
            found.append(f"map {self.xskmap}")
        if runs.start_time(self.forwarder) is not None:
            found.append(f"forwarder {self.forwarder}")
        return found

    def received(self) -> int:
        """Packets that dut0 has received; the forwarder lives where dut0 is."""
        text = Path(f"/proc/{self.forwarder}/net/dev").read_text()
        found = re.search(r"dut0: *\d+ +(\d+)", text)
        return int(found[1]) if found else 0


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Polls a condition until it holds or the time is over."""
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def started(
    *options: str,
    before: Sequence[str] = (),
    results: Path | None = None,
    out: int | IO[str] = subprocess.PIPE,
) -> Iterator[Command]:
    """Starts `xdplab …`; kills it at the end, if it is still there."""
    environment = {**os.environ, "PATH": PATH, "COLUMNS": "100"}
    environment.pop("PYTHONUNBUFFERED", None)  # it would hide what is still to be written at the end
    environment["XDPLAB_RESULTS"] = str(results or "/nonexistent/results")
    devices = frozenset(name for _, name in socket.if_nameindex())
    process = subprocess.Popen(
        [*before, sys.executable, "-c", MAIN, *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Command(process, devices)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)


def finished(
    *options: str,
    before: Sequence[str] = (),
    results: Path | None = None,
    timeout_s: float = PATIENCE_S,
) -> Command:
    """Runs `xdplab …` to its end."""
    with started(*options, before=before, results=results) as command:
        command.finish(timeout_s)
    return command


def compile_bpf(target: Path, text: str) -> str:
    """Compiles a BPF program; gives the path of the object.

    Headers and the licence stand around the text.
    """
    source = (
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
        f'{text}\nchar _license[] SEC("license") = "GPL";\n'
    )
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"  # where Debian has asm/types.h
    subprocess.run(
        ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-x", "c", "-", "-o", str(target)],
        input=source,
        text=True,
        check=True,
    )
    return str(target)
