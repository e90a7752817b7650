# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A guest that runs one command: started, listened to, judged, and gone when this returns.

It needs no file on the host: the initramfs is in memory, its console and its three channels are socket pairs,
and QEMU dies with us, however we die.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.harness.patience import SLOW
from labs.harness.process import Process
from labs.harness.vm import qemu
from labs.harness.vm.initramfs import Errand, build
from labs.harness.vm.kernels import Kernel
from labs.harness.vm.spec import Outcome, VmSpec
from labs.harness.vm.switch import Switch
from labs.harness.vm.tools import need

ALIVE = b"xdplab: alive"
PANIC = b"Kernel panic - not syncing"
NO_BOOT = b"xdplab: cannot boot: "
POLL_S = 0.2
LAST_WORDS_S = 2.0  # for a panic's trace to come through after its first line
TAIL_LINES = 40
# Deadlines in the guest, by what it runs on: an emulated processor takes some twenty times as long, and the
# labs' deadlines leave room for some of that.
SLOWNESS = {"kvm": "1", "tcg": "10"}

Sink = Callable[[bytes], None]


@dataclass
class Ending:
    """How a guest ended.

    Attributes:
        outcome: the kind of end.
        code: the command's exit code; None if it did not end.
        why: one sentence, "" for an ordinary end.
        console: all that the guest's console said.
        boot_s: the guest's uptime when the command began.
        command_s: how long the command ran, by the guest's clock.
        wall_s: from QEMU's start to its end, by ours.
        accel: "kvm" or "tcg".
    """

    outcome: Outcome
    code: int | None = None
    why: str = ""
    console: str = field(default="", repr=False)
    boot_s: float | None = None
    command_s: float | None = None
    wall_s: float = 0.0
    accel: str = "tcg"

    @property
    def exit_code(self) -> int:
        """The command's, or that of the outcome."""
        return self.code if self.code is not None else self.outcome.value

    @property
    def console_end(self) -> str:
        """The last lines of the console."""
        return "\n".join(self.console.splitlines()[-TAIL_LINES:])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, without the console."""
        plain = {
            name: getattr(self, name) for name in ("code", "why", "boot_s", "command_s", "wall_s", "accel")
        }
        return {"outcome": self.outcome.name.lower(), "exit_code": self.exit_code, **plain}


def run(
    spec: VmSpec, kernel: Kernel, errand: Errand | None, *, run: str, accel: str, stdout: Sink, stderr: Sink
) -> Ending:
    """Boots, runs the errand, and takes everything down again.

    Args:
        spec: the machine.
        kernel: what it boots.
        errand: what it does; None to see only whether it comes alive.
        run: the run's id, which marks QEMU for `xdplab cleanup`.
        accel: "kvm" or "tcg".
        stdout: takes the command's output as it comes.
        stderr: takes what it says on standard error.

    Raises:
        InputError: QEMU or busybox is missing, QEMU refuses its arguments, or the kernel lacks a module.
    """
    need(qemu.PROGRAM)
    guest = _Guest(spec, kernel, errand, run, accel)
    with guest:
        return guest.listen({"stdout": stdout, "stderr": stderr})


class _Guest:
    def __init__(self, spec: VmSpec, kernel: Kernel, errand: Errand | None, run: str, accel: str) -> None:
        self._spec = spec
        self._accel = accel
        self._errand = errand
        self._console = bytearray()
        self._control = bytearray()
        self._boot_s: float | None = None
        self._end_s: float | None = None
        self._code: int | None = None
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            archive = os.memfd_create("initramfs")
            undo.callback(os.close, archive)
            with os.fdopen(os.dup(archive), "wb") as file:
                file.write(build(kernel, spec.nics, errand))
            self._sockets: dict[str, socket.socket] = {}
            theirs: dict[str, socket.socket] = {}
            for name in ("console", *qemu.PORTS):
                ours, other = socket.socketpair()
                undo.callback(ours.close)
                undo.callback(other.close)
                ours.setblocking(False)
                self._sockets[name], theirs[name] = ours, other
            taps: list[list[int]] = []
            if any(nic.queues > 1 for nic in spec.nics):
                taps = undo.enter_context(Switch([nic.queues for nic in spec.nics], run)).fds
            fds = {name: other.fileno() for name, other in theirs.items()}
            argv = qemu.command(
                spec,
                kernel,
                accel=accel,
                initramfs=f"/proc/self/fd/{archive}",
                fds=fds,
                results=errand.results if errand else None,
                taps=taps,
            )
            self._started = self._last_beat = time.monotonic()
            passed = [archive, *fds.values(), *itertools.chain(*taps)]
            self._qemu = undo.enter_context(Process(argv, run=run, pass_fds=passed))
            for other in theirs.values():  # once only QEMU holds them, their end is its end
                other.close()
            self._undo = undo.pop_all()

    def __enter__(self) -> _Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self._qemu.kill()  # nothing of it is to be kept: what the guest wrote is on the host already
        self._undo.close()

    def listen(self, sinks: dict[str, Sink]) -> Ending:
        """Passes on what comes until the guest has ended, or must."""
        takers = {**sinks, "console": self._console.extend, "control": self._take_control}
        with selectors.DefaultSelector() as selector:
            for name, one in self._sockets.items():
                selector.register(one, selectors.EVENT_READ, takers[name])
            ending = None
            while ending is None:
                self._pass_on(selector, POLL_S)
                ending = self._judge(bool(selector.get_map()))
            if ending.outcome in (Outcome.PANIC, Outcome.NO_BOOT):
                last_words = time.monotonic() + LAST_WORDS_S
                while selector.get_map() and time.monotonic() < last_words:
                    self._pass_on(selector, POLL_S)
        ending.console = self._console.decode(errors="replace").replace("\r", "")
        ending.wall_s = round(time.monotonic() - self._started, 2)
        ending.accel = self._accel
        ending.boot_s = self._boot_s
        if self._boot_s is not None and self._end_s is not None:
            ending.command_s = round(self._end_s - self._boot_s, 2)
        return ending

    def _pass_on(self, selector: selectors.BaseSelector, timeout_s: float) -> None:
        for key, _ in selector.select(timeout_s):
            assert isinstance(key.fileobj, socket.socket)
            try:
                data = key.fileobj.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data = b""
            if data:
                key.data(data)
            else:
                selector.unregister(key.fileobj)

    def _take_control(self, data: bytes) -> None:
        self._control += data
        self._last_beat = time.monotonic()
        while b"\n" in self._control:
            line, _, rest = self._control.partition(b"\n")
            self._control = bytearray(rest)
            word, *numbers = line.decode(errors="replace").split()
            if word == "started":
                self._boot_s = float(numbers[0])
            elif word == "ended":
                self._code, self._end_s = int(numbers[0]), float(numbers[1])

    def _judge(self, connected: bool) -> Ending | None:
        """The end, if this is one."""
        if self._code is not None:
            return Ending(Outcome.ENDED, self._code)
        if PANIC in self._console:
            line = self._console[self._console.index(PANIC) :].split(b"\n")[0]
            return Ending(
                Outcome.PANIC, why=f"the guest's kernel panicked: {line.decode(errors='replace').strip()}"
            )
        if self._errand is None and ALIVE in self._console:
            return Ending(Outcome.ENDED, 0)
        now = time.monotonic()
        began = self._boot_s is not None
        if not connected or not self._qemu.running:
            return self._gone(began)
        if now - self._started > self._spec.timeout_s:
            return Ending(
                Outcome.TIME_LIMIT, why=f"the command had not ended after {self._spec.timeout_s:g} s"
            )
        if not began and now - self._started > self._spec.boot_s:
            return Ending(Outcome.NO_BOOT, why=f"the guest had not booted after {self._spec.boot_s:g} s")
        if began and now - self._last_beat > self._spec.beat_s:
            return Ending(Outcome.HANG, why=f"the guest hangs: no sign of life for {self._spec.beat_s:g} s")
        return None

    def _gone(self, began: bool) -> Ending:
        said = self._qemu.stderr.strip()
        if NO_BOOT in self._console:
            line = self._console[self._console.index(NO_BOOT) + len(NO_BOOT) :].split(b"\n")[0]
            return Ending(
                Outcome.NO_BOOT, why=f"the guest cannot boot: {line.decode(errors='replace').strip()}"
            )
        if began:
            return Ending(Outcome.GONE, why="the guest powered off while the command ran")
        why = (
            f"QEMU ended: {said.splitlines()[-1]}"
            if said
            else "the guest powered off before the command began"
        )
        return Ending(Outcome.NO_BOOT, why=why)


def errand_environment(extra: dict[str, str], accel: str) -> dict[str, str]:
    """What of our environment the command gets, and what tells it where it is and how slow."""
    kept = ("LANG", "LC_ALL", "TERM", "CI", "COLUMNS", "VIRTUAL_ENV")
    prefixes = ("XDPLAB_", "PYTHON", "PYTEST_")
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in kept or (name.startswith(prefixes) and name != "XDPLAB_RUN")
    }
    # The command's name is looked up beside our own interpreter first, as in an activated environment.
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin:/sbin"]
    )
    return {**ours, "PATH": path, "HOME": "/root", "XDPLAB_GUEST": "1", SLOW: SLOWNESS[accel], **extra}


def results_folder(root: Path) -> Path:
    """The folder for results, made if it is not there, as the guest will find it."""
    root.mkdir(parents=True, exist_ok=True)
    return root.resolve()
