# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command: one line for each mistake, on stderr and on the ready pipe, and a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from forwarder.cli import main


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name the interface to receive on with --interface"),
        (["-i", "lo", "--action", "eat"], "argument --action: invalid choice: 'eat'"),
        (["-i", "lo", "-q", "x"], "'x' is no number, nor a list like 0,1"),
        (["-i", "lo", "--rx-size", "1000"], "--rx-size 1000: choose a power of two"),
        (["-i", "lo", "--mode", "generic", "--zero-copy"], "--mode generic has no zero-copy"),
        (["-i", "lo", "--cpu", "99999"], "--cpu 99999: this process may not run there"),
        (["-i", "lo", "--xskmap", "/a", "--xskmap-fd", "5"], "not both"),
        (["-i", "lo", "--xskmap", "/nowhere/at/all"], "/nowhere/at/all"),
        (["-i", "lo", "--xskmap-fd", "0"], "--xskmap-fd 0 is no BPF map"),
        (["-i", "lo", "--python", "no_such_module:f"], "No module named 'no_such_module'"),
        (["-i", "lo", "--python", "json:nothing"], "has no attribute 'nothing'"),
        (["-i", "lo", "--python", "json:__doc__"], "it is no function"),
        (["-i", "lo", "--user", "no-such-user"], "--user no-such-user: there is no user 'no-such-user'"),
        (["-i", "lo", "--user", "root:no-such-group"], "there is no group 'no-such-group'"),
        (["-i", "lo", "--user", "4000000001"], "user 4000000001 has no entry: write UID:GID"),
        (["-i", "lo", "--user", "4294967295:1"], "ids end at 4294967294"),
        (["-i", "lo", "--bogus"], "unrecognized arguments: --bogus"),
        (["-i", "lo", "--interval", "nan"], "--interval nan: give seconds, 0 or more"),
        (["-i", "lo", "--report-fd", "999"], "--report-fd 999: no descriptor open for writing"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_on_the_ready_pipe(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    try:
        assert main([*argv, "--ready-fd", str(write)]) == 2
        line = json.loads(os.read(read, 65536))
    finally:
        os.close(read)
        os.close(write)
    out, err = capsys.readouterr()
    assert message in err
    assert err == f"xdplab: {line['error']}\n"
    assert out == ""


def test_closed_ready_descriptor_does_not_hide_the_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-i", "lo", "--rx-size", "3", "--ready-fd", "999"]) == 2
    assert "xdplab: --rx-size 3" in capsys.readouterr().err


def test_no_option_at_all_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "name the interface" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for taught in ("examples:", "XSKMAP", "not matched", "last line of stdout", "for tests"):
        assert taught in text


def test_starting_imports_nothing_heavy() -> None:
    """Labs start forwarders all the time; each of these would cost more than all the rest."""
    code = "import sys, forwarder.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "rich", "scapy", "pyroute2", "psutil", "asyncio", "yaml", "difflib"} & set(
        loaded.split()
    )
