# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A child process in a namespace, which says when it is ready and which never outlives us."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from labs.harness.netns import NetNs
from labs.harness.patience import patient
from labs.harness.runs import MARK
from xdp.pyxdp.errors import InputError

READY_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
OUTPUT_TAIL = 2000  # characters of output in a message
# We may have been killed before the child asked the kernel to die with us: then nobody would tell it.
UNLESS_ORPHAN = 'test "$PPID" = "$0" && exec "$@"'


Self = TypeVar("Self", bound="Process")  # typing.Self begins with Python 3.11


class ProcessError(RuntimeError):
    """A child did not do what was expected of it; the message ends with the last output seen."""


class NotReadyError(ProcessError, InputError):
    """A child refused to start and said why in one line, which is the message."""


class Process:
    """A running command; a context manager which stops it.

    Args:
        argv: the command.
        namespace: where it runs; None for the caller's own.
        run: the run's id, put into the environment as XDPLAB_RUN.
        ready_option: option by which the command takes the ready pipe's descriptor ("--ready-fd"); None if it
            knows no such thing. With it, construction returns when the child has said that it is ready.
        report_option: likewise for the pipe on which it leaves its final report ("--report-fd").
        pass_fds: descriptors that the child inherits under the same numbers.
        env: additional environment.
        keep: let it outlive us (and `close`).
        ready_timeout_s: how long to wait for the ready line.

    Raises:
        InputError: the command does not exist, or this is not the main thread.
        NotReadyError: the child answered {"error": …}.
        ProcessError: the child ended, or said nothing in time.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        run: str,
        namespace: NetNs | None = None,
        ready_option: str | None = None,
        report_option: str | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        keep: bool = False,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self.argv = tuple(argv)
        self.run = run
        self.keep = keep
        self.ready: dict[str, Any] = {}
        self._undo = contextlib.ExitStack()
        self._report = bytearray()
        self._kept_output: dict[int, str] = {}
        self._report_read = -1
        with contextlib.ExitStack() as undo:
            undo.callback(self._give_up)
            self._stdout = self._memory_file("stdout")
            self._stderr = self._memory_file("stderr")
            inherited = (
                contextlib.ExitStack()
            )  # the child's ends, which we must not hold: we wait for their end
            with inherited:
                command, passed = list(argv), list(pass_fds)
                ready_read = -1
                if ready_option:
                    ready_read, ready_write = self._pipe(inherited)
                    command += [ready_option, str(ready_write)]
                    passed.append(ready_write)
                if report_option:
                    self._report_read, report_write = self._pipe(inherited)
                    command += [report_option, str(report_write)]
                    passed.append(report_write)
                self._child = self._spawn(command, passed, namespace, env or {})
            if ready_option:
                self._await_ready(ready_read, ready_timeout_s)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self._child.returncode is not None:
            return False
        # Look without reaping: as long as it is not reaped, its process group cannot be anyone else's.
        state = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return state is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative signal number, or None while it runs."""
        return None if self.running else self._finish()

    @property
    def stdout(self) -> str:
        """All standard output so far."""
        return self._output(self._stdout)

    @property
    def stderr(self) -> str:
        """All standard error so far."""
        return self._output(self._stderr)

    @property
    def command(self) -> str:
        """The command in messages."""
        return " ".join(self.argv)

    def report(self) -> dict[str, Any]:
        """The report that an ended child left on its report pipe; {} if none.

        Raises:
            ProcessError: what it left is no JSON object.
        """
        text = self._report.decode(errors="replace").strip()
        if not text:
            return {}
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ProcessError(f"{self.command}: report is no JSON object: {text[-OUTPUT_TAIL:]}")
        return value

    def wait(self, timeout_s: float) -> int:
        """Wait for the end.

        Returns:
            The exit status, or the negative number of the signal that ended it.

        Raises:
            ProcessError: still running after `timeout_s`.
        """
        # Read while waiting: a report larger than a pipe would otherwise block the child's end.
        if not self._poll(lambda: not self.running, timeout_s):
            raise ProcessError(f"{self.command}: still running after {timeout_s:g} s; {self._last_output()}")
        return self._finish()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Poll `condition` until it holds.

        Raises:
            ProcessError: the child ended before, or `timeout_s` passed; names `what` and the last output.
        """
        if not self._poll(lambda: condition() or not self.running, timeout_s):
            raise ProcessError(f"{self.command}: no {what} within {timeout_s:g} s; {self._last_output()}")
        if not condition():
            raise ProcessError(
                f"{self.command}: ended ({self.returncode}) before {what}; {self._last_output()}"
            )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> dict[str, Any]:
        """Ask to end with SIGTERM, and kill what has not ended within `timeout_s`. Idempotent.

        Returns:
            The final report, {} if it left none; how it ended is in `returncode`.

        Raises:
            ProcessError: what it left is no JSON object.
        """
        self._end(timeout_s)
        return self.report()

    def kill(self) -> int:
        """End it with SIGKILL, as a crash would."""
        return self._finish()

    def close(self) -> None:
        """Stop the child unless kept, and let go of its pipes; its output remains readable. Idempotent."""
        try:
            if hasattr(self, "_child") and not self.keep:
                self._end(STOP_TIMEOUT_S)
        finally:
            self._report_read = -1
            self._undo.close()

    def _give_up(self) -> None:
        """What never became ready is not kept."""
        self.keep = False
        self.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _memory_file(self, name: str) -> int:
        """Output goes to memory: no thread reads it, no chatty child blocks, one can look at any time."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        self._undo.callback(os.close, fd)
        self._undo.callback(lambda: self._kept_output.update({fd: self._output(fd)}))
        return fd

    def _pipe(self, inherited: contextlib.ExitStack) -> tuple[int, int]:
        read, write = os.pipe2(os.O_CLOEXEC)
        self._undo.callback(os.close, read)
        inherited.callback(os.close, write)
        os.set_blocking(read, False)
        return read, write

    def _spawn(
        self, command: list[str], passed: list[int], namespace: NetNs | None, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        if shutil.which(command[0]) is None:
            raise InputError(f"command {command[0]!r} not found: install it, or correct its path")
        if not self.keep:
            if threading.current_thread() is not threading.main_thread():
                # The kernel sends the signal when the creating *thread* ends (prctl(2), PR_SET_PDEATHSIG).
                raise InputError(
                    "start processes from the main thread, or with keep=True: others end earlier"
                )
            # Not preexec_fn: Python code between fork and exec may deadlock when other threads run.
            if shutil.which("setpriv") is None:
                raise InputError("command 'setpriv' not found: install util-linux")
            command = [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
                "sh",
                "-c",
                UNLESS_ORPHAN,
                str(os.getpid()),
                *command,
            ]
        with namespace.entered() if namespace else contextlib.nullcontext():
            # A session of its own: Ctrl-C on the terminal reaches us only, and we end children in order.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._stderr,
                pass_fds=passed,
                env={**os.environ, **env, MARK: self.run},
                start_new_session=True,
            )

    def _await_ready(self, fd: int, timeout_s: float) -> None:
        line = bytearray()
        timeout_s = patient(timeout_s)
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while b"\n" not in line:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise ProcessError(
                        f"{self.command}: not ready after {timeout_s:g} s; {self._last_output()}"
                    )
                chunk = os.read(fd, 65536)
                if not chunk:  # the other end is closed: it has ended, or never will say more
                    status = self._end(STOP_TIMEOUT_S)
                    raise ProcessError(
                        f"{self.command}: ended ({status}) before ready; {self._last_output()}"
                    )
                line += chunk
        text = line.decode(errors="replace").strip()
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ProcessError(f"{self.command}: ready line is no JSON object: {text[:OUTPUT_TAIL]}")
        if "error" in value:
            raise NotReadyError(str(value["error"]))
        self.ready = value

    def _poll(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait in steps of a fifth of what was waited, up to 10 ms; the report pipe is read on the way."""
        deadline = time.monotonic() + patient(timeout_s)
        step = 0.0002
        while not condition():
            self._drain_report()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(step, left))
            step = min(step * 1.2, 0.01)
        return True

    def _drain_report(self) -> None:
        while self._report_read >= 0:
            try:
                chunk = os.read(self._report_read, 65536)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._report += chunk

    def _end(self, timeout_s: float) -> int:
        try:
            if self.running:
                self._child.terminate()
                self._poll(lambda: not self.running, timeout_s)
        finally:
            status = self._finish()
        return status

    def _finish(self) -> int:
        """Kill what is left of the child and of its own children, reap it, and take in its report.

        It leads a session, so its pid is the group's id; that id is ours only until the child is reaped.
        """
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        status = self._child.wait()
        self._drain_report()
        return status

    def _last_output(self) -> str:
        output = (self.stderr.strip() or self.stdout.strip())[-OUTPUT_TAIL:]
        return f"last output: {output}" if output else "it printed nothing"

    def _output(self, fd: int) -> str:
        if fd in self._kept_output:
            return self._kept_output[fd]
        return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
