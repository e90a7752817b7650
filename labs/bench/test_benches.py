# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The benches behind `make`: they say what they do, refuse in one line, and end at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

BENCHES = ("chain", "flood", "tester")


def bench(name: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"labs.bench.{name}", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", BENCHES)
def test_help_teaches_and_a_mistake_is_one_line(name: str) -> None:
    out, err = bench(name, "--help").communicate(timeout=60)
    assert "usage:" in out
    assert err == ""
    child = bench(name, "--nonsense")
    out, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "--nonsense" in err
    assert "Traceback" not in err


@pytest.mark.system
def test_frames_at_a_rate_come_through_the_chain() -> None:
    child = bench("chain", "--packets", "10000", "--rate", "20000", "--check", "--json")
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    data = json.loads(out)
    assert (data["received"], data["perfect"], data["conserved"]) == (10_000, True, True)
    assert data["ledger"]["unaccounted"] == 0
    assert "10,000 frames at 20,000 pps" in err


@pytest.mark.system
@pytest.mark.parametrize("name", ["chain", "flood"])
def test_ctrl_c_ends_the_search_at_once(name: str) -> None:
    with bench(name) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert "rate without loss" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        err = child.stderr.read()
        child.wait(timeout=20)
    assert child.returncode == 130
    assert err == "xdplab: interrupted; everything was removed\n"
