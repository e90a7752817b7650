# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""However a run ends, nothing of it is left: Ctrl-C, SIGTERM, SIGKILL, a reader that goes away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labs.pipeline.command import Command, Standing, comes_true, finished, started

pytestmark = pytest.mark.system

LONG = ("run", "--packets", "1000000", "--rate", "2000", "--pings", "0")
# An idle machine takes 0.2 s; the bound leaves room for a busy one.
END_S = 5.0
# The kernel frees programs, and with them their maps, in a work queue of its own; it comes to it when it can.
FREE_S = 10.0


def in_traffic(command: Command) -> Standing:
    """Waits until packets flow."""
    standing = Standing.of(command)
    assert comes_true(lambda: standing.received() > 50, 20), f"{standing.received()} packets at dut0"
    return standing


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_in_the_middle_of_traffic_ends_a_run_and_nothing_is_left(
    number: signal.Signals, code: int, how: str, tmp_path: Path
) -> None:
    with started(*LONG, "--keep", results=tmp_path / "results") as command:
        standing = in_traffic(command)
        began = time.monotonic()
        for _ in range(3):  # an impatient user changes nothing
            command.process.send_signal(number)
            time.sleep(0.01)
        assert command.finish() == code, command.err
        took = time.monotonic() - began
    assert command.err == f"xdplab: {how}; everything was removed\n"
    assert "Traceback" not in command.out
    assert took < END_S
    # Not even with --keep: only a run that came to its end is kept.
    assert command.leaves_nothing(1)
    assert comes_true(lambda: not standing.alive(), FREE_S), standing.alive()
    if number == signal.SIGINT:  # what was sent until then is accounted for
        assert "FAIL" in command.out
        assert "interrupted after" in command.out
        assert "unaccounted for" not in command.out
    else:
        assert not (tmp_path / "results").exists()


def test_after_sigkill_all_goes_by_itself(tmp_path: Path) -> None:
    """Namespaces are held by descriptors, the program by a link, the forwarder dies with its parent."""
    with started(*LONG, results=tmp_path) as command:
        standing = in_traffic(command)
        command.process.kill()
        assert command.finish() == -signal.SIGKILL
    assert command.leaves_nothing(2), command.left()
    assert comes_true(lambda: not standing.alive(), FREE_S), standing.alive()


def test_after_sigkill_a_run_to_be_kept_goes_by_clean_up(tmp_path: Path) -> None:
    with started(*LONG, "--keep", results=tmp_path) as command:
        standing = in_traffic(command)
        command.process.kill()
        command.finish()
    left = command.left()
    assert f"process {standing.forwarder}" in left
    assert len([line for line in left if line.startswith("namespace xl-")]) == 2
    run = next(line.removesuffix("-gen") for line in left if line.endswith("-gen")).split("xl-")[1]
    assert finished("cleanup", "--run", run).process.returncode == 0
    assert command.left() == []
    assert comes_true(lambda: not standing.alive(), FREE_S), standing.alive()


def test_after_sigkill_of_pytest_in_the_middle_of_a_lab_all_goes_by_itself(tmp_path: Path) -> None:
    (tmp_path / "test_killed.py").write_text(
        "import os, pytest, signal, sys\n"
        "@pytest.mark.lab\n"
        "def test_killed(pipeline):\n"
        "    print('program', pipeline.program.id, 'pid', pipeline.forwarder.pid,\n"
        "          'XSKMAP', pipeline.xskmap().id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "labs.harness.plugin",
        "-p",
        "no:cacheprovider",
        "--assert=plain",
    ]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        killed = Command(process, frozenset(name for _, name in socket.if_nameindex()))
        standing = Standing.of(killed)
        assert killed.finish() == -signal.SIGKILL, killed.out
    assert killed.leaves_nothing(2), killed.left()
    assert comes_true(lambda: not standing.alive(), FREE_S), standing.alive()


@pytest.mark.parametrize("options", ["--help", "features", "run --packets 10 --pings 0 --keep"])
def test_a_reader_that_went_away_is_no_traceback_and_no_verdict(options: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody, started(*options.split(), results=tmp_path, out=nobody) as command:
        assert (command.finish(), command.err) == (128 + signal.SIGPIPE, "")
    assert command.left() == []
