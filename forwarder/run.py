# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A forwarder's process from start to end: signals, privileges, ready line, what is printed, report."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from xdp.pyxdp.errors import InputError, KernelError

from . import locked, output, privileges, scheduling
from .named import load
from .process import ENDING, Descriptors, Forwarder
from .server import StatsServer
from .spec import ForwarderSpec

if TYPE_CHECKING:
    from .loop import BatchFunction

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(spec: ForwarderSpec, descriptors: Descriptors) -> int:
    """Runs a forwarder until a signal ends it; returns the exit code (1: a frame was lost by ourselves).

    Unless the spec keeps them, the calling process loses its privileges for good.

    Raises:
        InputError: something given cannot be used.
        KernelError: the kernel refused.
        Exception: what the user's Python function raised.
    """
    descriptors.check()
    user = privileges.find_user(spec.user) if spec.user else None
    # Blocked before any thread exists, so that only sigtimedwait() ever sees them: no handler, no race.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        parent = os.getppid()
        if spec.parent_death_signal:
            _die_with(parent)
        _check_cpus(spec.cpus)
        try:
            forwarder = Forwarder(spec, descriptors, _load_function(spec.python) if spec.python else None)
        except KernelError as error:
            raise locked.explained(error, spec) from None
        with contextlib.closing(forwarder):
            shown = output.choose(spec, forwarder.counters, forwarder.snapshot)
            report = _run_bound(forwarder, shown, user, parent)
    finally:
        while signal.sigtimedwait(ENDING, 0):  # a second Ctrl-C is not for whoever runs next
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    write_line(descriptors.report, report)
    shown.report(report)
    if report["frames"]["conserved"]:
        return 0
    print(f"xdplab: frames are not conserved: {json.dumps(report['frames'])}", file=sys.stderr)
    return 1


def _run_bound(
    forwarder: Forwarder, shown: output.Output, user: privileges.User | None, parent: int
) -> dict[str, Any]:
    """From bound sockets to the report: gives privileges up, runs, tells.

    What is imported or opened by name must be so before: another user may not even enter our folder.
    """
    spec = forwarder.spec
    with contextlib.ExitStack() as undo:
        undo.callback(shown.close)
        server = None
        if spec.stats_socket != "none":
            server = StatsServer(spec.stats_socket, user.uid if user else os.geteuid())
            undo.callback(server.close)
        memory = locked.lock(spec.lock_memory, keep_privileges=spec.keep_privileges)
        with scheduling.inherited(spec.priority):
            if not spec.keep_privileges:
                privileges.drop(user)
            if spec.parent_death_signal:
                _die_with(parent)  # the kernel forgets it when the user changes
            forwarder.start()
        try:
            forwarder.process = {
                **privileges.standing(),
                "priority": forwarder.priority(),
                "memory_locked": memory,
                "stats_socket": server.address if server else None,
            }
            if server:
                server.start(forwarder.snapshot)
            ready = forwarder.ready()
            shown.ready(ready)  # first, so that the first interval has all that comes once we are ready
            write_line(forwarder.descriptors.ready, ready)
            forwarder.wait(shown.interval)
        finally:
            if server:
                server.stop()
            report = forwarder.stop()
    return report


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _check_cpus(cpus: tuple[int, ...]) -> None:
    """Tries each CPU: an inherited affinity may be widened, a cpuset may not."""
    before = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            try:
                os.sched_setaffinity(0, {cpu})
            except (OSError, ValueError, OverflowError) as error:
                raise InputError(
                    f"--cpu {cpu}: this process may not run there; there are {os.cpu_count()}, from 0"
                ) from error
    finally:
        os.sched_setaffinity(0, before)


def write_line(fd: int | None, message: dict[str, Any]) -> None:
    """One JSON line to a file descriptor; whoever closed its other end does not want it."""
    if fd is None:
        return
    with contextlib.suppress(BrokenPipeError):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]


def _load_function(name: str) -> BatchFunction:
    function = load("--python", name)
    if not callable(function):
        raise InputError(f"--python {name}: it is no function")
    return function  # type: ignore[no-any-return]  # the user's; its answers are checked in each batch
