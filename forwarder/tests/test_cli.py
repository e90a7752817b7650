# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command: one line for each mistake, on stderr and on the ready pipe, and a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder import launch
from forwarder.cli import main
from forwarder.options import OPTIONS


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
    for taught in ("examples:", "XSKMAP", "not matched", "one line of JSON", "for tests", "exit code:"):
        assert taught in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\n  --") > len(OPTIONS)


@pytest.fixture(scope="module")
def fast_start() -> Callable[..., tuple[set[str], str]]:
    """Starts as labs do, as a script without `site`; gives the modules loaded at the end, and stderr."""

    def start(*options: str) -> tuple[set[str], str]:
        *python, script = launch.command()
        code = (
            f"import sys; sys.argv = {[script, '-i', 'lo', *options]!r}\n"
            f"sys.path[0] = {str(Path(script).parent)!r}; __package__ = None\n"
            f"try: exec(compile(open({script!r}).read(), 'main', 'exec'))\n"
            "finally: print(*sys.modules)"
        )
        environment = {**os.environ, **launch.environment()}
        ended = subprocess.run(
            [*python, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        return set(ended.stdout.split()), ended.stderr

    return start


def test_starting_imports_nothing_heavy(fast_start: Callable[..., tuple[set[str], str]]) -> None:
    """Labs start forwarders all the time; each of these costs more than much of the rest."""
    loaded, said = fast_start("--rx-size=3")
    assert said == "xdplab: --rx-size 3: choose a power of two from 1 to 1048576\n"
    assert {"forwarder._batch", "forwarder.loop", "forwarder.server"} <= loaded
    ours = {"numpy", "rich", "scapy", "pyroute2", "psutil", "yaml"}
    pythons = {"asyncio", "difflib", "ipaddress", "pathlib", "runpy", "shutil", "site", "subprocess"}
    assert not (ours | pythons) & loaded


@pytest.mark.parametrize(
    ("module", "needs_site"), [("json", False), ("numpy", True), ("no_such_module", True)]
)
def test_other_packages_are_found_when_they_are_asked_for(
    fast_start: Callable[..., tuple[set[str], str]], module: str, needs_site: bool
) -> None:
    loaded, said = fast_start(f"--python={module}:nothing")
    assert ("site" in loaded) == needs_site
    missing = "No module named 'no_such_module'" if "no_such" in module else "has no attribute 'nothing'"
    assert missing in said


def test_what_tells_of_the_core_is_not_handed_on() -> None:
    code = (
        f"import os; from forwarder import launch; launch.prepare(); print(os.environ.get({launch.CORE!r}))"
    )
    environment = {**os.environ, launch.CORE: "/nowhere"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "None\n"
