# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Child processes: ready when they say so, ended with us, and never without their last words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labs.harness.netns import NetNs
from labs.harness.process import UNLESS_ORPHAN, NotReadyError, Process, ProcessError
from xdp.pyxdp.errors import InputError

# A child that speaks the ready protocol: argv is [body, "--ready-fd", N, "--report-fd", N]
PREAMBLE = """
import json, os, signal, sys, time
def fd(name): return int(sys.argv[sys.argv.index(name) + 1])
def say(name, text): os.write(fd(name), text.encode())
"""


def child(body: str) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + body]


def start(body: str, **options: Any) -> Process:
    options = {"run": "t", "ready_option": "--ready-fd", "report_option": "--report-fd", **options}
    return Process(child(body), **options)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:4]
    except OSError:
        return False


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.005)


WAITS = 'say("--ready-fd", json.dumps({"ready": True, "pid": os.getpid()}) + "\\n")\nsignal.pause()\n'
REPORTS = (
    'signal.signal(signal.SIGTERM, lambda *_: (say("--report-fd", json.dumps({"n": 7})), sys.exit(3)))\n'
    + WAITS
)


def test_ready_carries_what_the_child_said_and_its_pid_is_the_commands_own() -> None:
    with start(WAITS) as process:
        assert process.ready == {"ready": True, "pid": process.pid}
        assert process.running
    assert not alive(process.pid)
    assert process.returncode == -signal.SIGTERM


def test_stop_returns_the_report_and_stopping_again_is_fine() -> None:
    with start(REPORTS) as process:
        assert process.stop() == {"n": 7}
        assert process.stop() == {"n": 7}
        assert process.returncode == 3


def test_a_report_larger_than_a_pipe_arrives_whole() -> None:
    body = 'say("--ready-fd", "{}\\n")\n' + 'say("--report-fd", json.dumps({"x": "y" * 300_000}))\n'
    with start(body) as process:
        assert process.wait(5) == 0
        assert len(process.report()["x"]) == 300_000


def test_a_report_that_is_no_json_object_is_an_error_with_the_text() -> None:
    with start('say("--ready-fd", "{}\\n")\nsay("--report-fd", "rubbish")') as process:
        process.wait(5)
        with pytest.raises(ProcessError, match="rubbish"):
            process.report()


def test_a_child_that_refuses_is_quoted_in_one_line() -> None:
    before = descriptors()
    with pytest.raises(NotReadyError) as caught:
        start('say("--ready-fd", json.dumps({"error": "no such device: dut7"}) + "\\n")\nsignal.pause()')
    assert str(caught.value) == "no such device: dut7"
    assert isinstance(caught.value, InputError)
    assert descriptors() == before


def test_a_child_that_ends_before_ready_is_reported_with_its_last_words() -> None:
    with pytest.raises(ProcessError, match=r"ended \(5\) before ready; last output: oh dear"):
        start('sys.stderr.write("oh dear\\n")\nsys.exit(5)')


def test_a_child_that_is_never_ready_is_reported_with_its_last_words_and_killed() -> None:
    pids: list[int] = []
    began = time.monotonic()
    with pytest.raises(
        ProcessError, match=r"not ready after 0\.5 s; last output: (\d+) still thinking"
    ) as caught:
        start('print(os.getpid(), "still thinking", flush=True)\nsignal.pause()', ready_timeout_s=0.5)
    assert 0.5 <= time.monotonic() - began < 10
    pids += [int(word) for word in str(caught.value).split() if word.isdigit()]
    assert pids
    assert not alive(pids[-1])


def test_a_child_that_ignores_sigterm_is_killed_within_the_bound() -> None:
    with start("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS) as process:
        began = time.monotonic()
        assert process.stop(timeout_s=0.2) == {}
        assert 0.2 <= time.monotonic() - began < 10
        assert process.returncode == -signal.SIGKILL


def test_grandchildren_end_with_the_child() -> None:
    body = "import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\n" + WAITS
    with start(body) as process:
        grandchild = int(process.stdout)
        assert alive(grandchild)
    eventually(lambda: not alive(grandchild), "the grandchild is dead")


def test_output_is_kept_after_close() -> None:
    with Process(["sh", "-c", "echo out; echo err >&2"], run="t") as process:
        assert process.wait(5) == 0
    assert (process.stdout, process.stderr) == ("out\n", "err\n")


def test_waiting_too_long_names_the_last_output() -> None:
    with (
        Process(["sh", "-c", "echo busy; exec sleep 60"], run="t") as process,
        pytest.raises(ProcessError, match=r"(?s)still running after 0\.2 s; last output: busy"),
    ):
        process.wait(0.2)


def test_waiting_for_what_never_comes_names_it() -> None:
    with Process(["sleep", "60"], run="t") as process:
        with pytest.raises(ProcessError, match=r"no reply within 0\.1 s; it printed nothing"):
            process.wait_for(lambda: False, 0.1, "reply")
        process.wait_for(lambda: True, 0.1, "reply")
    with pytest.raises(ProcessError, match=r"ended \(-15\) before reply"):
        process.wait_for(lambda: False, 0.1, "reply")


def test_a_command_that_does_not_exist_is_bad_input() -> None:
    before = descriptors()
    with pytest.raises(InputError, match="'no-such-command' not found"):
        Process(["no-such-command"], run="t")
    assert descriptors() == before


def test_the_run_is_written_into_the_childs_environment() -> None:
    with Process([sys.executable, "-c", "import os; print(os.environ['XDPLAB_RUN'])"], run="r42") as process:
        process.wait(5)
        assert process.stdout == "r42\n"


def test_every_descriptor_is_closed_after_close() -> None:
    before = descriptors()
    with start(REPORTS) as process:
        process.stop()
    process.close()
    assert descriptors() == before


def test_only_passed_descriptors_reach_the_child() -> None:
    read, write = os.pipe()
    try:
        # a listing contains the descriptor that lists: gone when looked at again
        there = "/proc/self/fd/"
        body = f"from os import *; print(*(f for f in listdir({there!r}) if access({there!r} + f, 0)))"
        with Process([sys.executable, "-c", body], run="t", pass_fds=[write]) as process:
            process.wait(5)
            assert process.stdout == f"0 1 2 {write}\n"
    finally:
        os.close(read)
        os.close(write)


def test_another_thread_is_refused_since_its_children_would_die_with_it() -> None:
    caught: list[BaseException] = []

    def body() -> None:
        try:
            Process(["sleep", "60"], run="t")
        except InputError as error:
            caught.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def run_and_kill(code: str) -> int:
    """Run a parent that prints its child's pid, kill the parent, return the child's pid."""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        return int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.communicate()


PARENT = """
import sys
from labs.harness.process import UNLESS_ORPHAN, Process
process = Process(["sleep", "60"], run="t", keep=KEEP)
print(process.pid, flush=True)
sys.stdin.read()
"""


def test_a_child_dies_when_its_parent_is_killed() -> None:
    pid = run_and_kill(PARENT.replace("KEEP", "False"))
    eventually(lambda: not alive(pid), "the child is dead")


def test_a_child_whose_parent_was_killed_before_it_asked_to_die_with_it_does_not_begin() -> None:
    """Its first look at its parent already finds another one: here the pid of one that never was."""
    for parent, said in ((os.getpid(), "began\n"), (2**31 - 1, "")):
        command = ["sh", "-c", UNLESS_ORPHAN, str(parent), "echo", "began"]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == said


def test_a_kept_child_lives_on_after_its_parent() -> None:
    pid = run_and_kill(PARENT.replace("KEEP", "True"))
    try:
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.system
def test_the_child_runs_in_its_namespace_and_we_do_not() -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    with NetNs("gen", "t") as namespace:
        with Process(["readlink", "/proc/self/ns/net"], run="t", namespace=namespace) as process:
            process.wait(5)
        assert process.stdout == f"net:[{namespace.inode}]\n"
    assert Path("/proc/thread-self/ns/net").readlink() == home
