# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab xskmap`: what cannot be used is answered in one line, with exit code 2."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from xdp.cli_xskmap import EPILOG, main
from xdp.xskmap import Reader, RingLevel, SocketInfo, Statistics, Umem, XskMap, read_xskmap


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--id", "x"], "'x' is no id"),
        (["--id", "-4"], "'-4' is no id; ids are positive numbers"),
        (["--watch", "0"], "'0' is no interval; give seconds from 0.05"),
        (["--watch", "nan"], "'nan' is no interval"),
        (["--watch", "soon"], "'soon' is no interval"),
        (["--id", "1", "--dev", "lo"], "not allowed with"),
        (["--slots", "some"], "invalid choice"),
        (["--netns", "lab"], "give --dev too"),
        (["eth0"], "unrecognized arguments: eth0"),
        (["--id", "4294967296"], "4294967296 is no map id"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(argv)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    assert code == 2
    assert re.fullmatch(r"xdplab: [^\n]*\n", err)
    assert message in err
    assert out == ""


def test_without_root_it_says_so_in_one_line() -> None:
    """In a child that gives root up, if the tests run as root."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 2)
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        code = 99
        try:
            code = main(["--all"])
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as answered:
        said = answered.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert said == "xdplab: reading XSKMAPs needs root (CAP_SYS_ADMIN): run it with sudo\n"


@pytest.mark.parametrize("which", [{}, {"map_id": 1, "fd": 1}])
def test_a_reader_wants_one_map(which: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="by its id or by a file descriptor"):
        Reader(map_id=which.get("map_id"), fd=which.get("fd"))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="method 'guess' does not exist; there are auto, btf, probe"):
        read_xskmap(fd=0, method="guess")


def test_the_help_names_every_key_of_the_json() -> None:
    for kind in (XskMap, SocketInfo, RingLevel, Umem, Statistics):
        for field in dataclasses.fields(kind):
            assert re.search(rf"\b{field.name}\b", EPILOG), field.name


def test_the_help_fits_a_terminal_and_loads_neither_rich_nor_libbpf() -> None:
    code = (
        "import sys, xdp.cli_xskmap as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit as e: assert not e.code\n"
        "assert 'rich' not in sys.modules and 'numpy' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 110
