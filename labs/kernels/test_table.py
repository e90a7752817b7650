# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The table says of each lab on each kernel what its files say, and keeps every reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labs.kernels import cli, inside, table
from xdp.pyxdp.errors import InputError

JUNIT = """<testsuites><testsuite>
<testcase classname="labs.xskmap.test_slots" name="test_one"/>
<testcase classname="labs.xskmap.test_slots" name="test_two">
<failure message="no!">Traceback</failure></testcase>
<testcase classname="labs.xskmap.test_slots" name="test_three"><skipped message="ext: refused"/></testcase>
<testcase classname="labs.why.test_a.TestB" name="test_four">
<error message="left behind">fd 5</error></testcase>
<testcase classname="xdp.tests.test_maps" name="test_five"/>
</testsuite></testsuites>
"""
REFUSED = "xdplab: load BPF object: Invalid argument\nprocessed 3 insns\nR1 type=scalar expected=ctx"


def left(folder: Path, *, code: int, said: str = "", main: object = None, junit: str = "") -> Path:
    """The files of one kernel."""
    folder.mkdir()
    features = [
        {"name": "ext", "reason": "refused"},
        {"name": "xdp", "reason": ""},
    ]
    (folder / inside.FEATURES).write_text(json.dumps(features))
    (folder / inside.MAIN_SAID).write_text(f"{code}\n{said}")
    (folder / inside.MAIN).write_text(json.dumps(main) if main else "")
    if junit:
        (folder / inside.JUNIT).write_text(junit)
    return folder


def test_each_lab_is_counted_with_its_reasons(tmp_path: Path) -> None:
    column = table.read("6.12", "6.12.1-amd64", left(tmp_path / "k", code=0, junit=JUNIT))
    assert {lab: str(cell) for lab, cell in column.cells.items()} == {
        "main lab": "pass 1",
        "labs/xskmap": "FAIL 1 of 2",
        "labs/why": "FAIL 1 of 1",
        "xdp": "pass 1",
    }
    assert column.failed
    said = "\n".join(table.notes([column]))
    assert "6.12: labs/xskmap: test_slots::test_two failed\n    no!\n    Traceback" in said
    assert "skipped on 6.12: ext: refused" in said
    assert "fd 5" in said


def test_what_a_verifier_refuses_is_one_red_cell_with_its_log(tmp_path: Path) -> None:
    old = table.read("5.10", "5.10.0-9-amd64", left(tmp_path / "old", code=2, said=REFUSED))
    new = table.read("6.12", "6.12.1-amd64", left(tmp_path / "new", code=0))
    head, rows = table.labs_table([old, new])
    assert head == ["lab", "5.10", "6.12"]
    assert rows == [["main lab", "FAIL 1 of 1", "pass 1"]]
    assert "R1 type=scalar expected=ctx" in "\n".join(table.notes([old, new]))
    assert (old.failed, new.failed) == (True, False)


def test_a_verdict_of_fail_names_its_reasons(tmp_path: Path) -> None:
    verdict = {"verdict": {"pass": False, "reasons": ["tx: 3 unaccounted"]}}
    column = table.read("6.1", "6.1.0-1-amd64", left(tmp_path / "k", code=1, main=verdict))
    assert column.cells[table.MAIN_ROW].reasons == {table.MAIN_ROW: "tx: 3 unaccounted"}


def test_a_guest_that_panicked_failed_and_a_kernel_that_nobody_offers_did_not(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    panicked = table.read("6.1", "6.1.0-1", tmp_path / "k", "the guest's kernel panicked: …")
    absent = table.Column("5.15", problem="no package source has a kernel 5.15", available=False)
    works = table.read("6.12", "6.12.1", left(tmp_path / "w", code=0))
    assert [column.failed for column in (panicked, absent, works)] == [True, False, False]
    _, rows = table.labs_table([panicked, absent, works])
    assert rows == [["main lab", "not run", "none to be had", "pass 1"]]
    page = table.markdown([panicked, absent, works])
    assert "- 5.15: no package source has a kernel 5.15" in page
    assert "| ext | no |" in page  # only the kernel that was asked has a column of features


def test_a_long_log_keeps_both_ends(tmp_path: Path) -> None:
    said = "\n".join(f"line {number}" for number in range(500))
    column = table.read("6.1", "6.1", left(tmp_path / "k", code=2, said=said))
    text = "\n".join(table.notes([column]))
    assert "line 0\n" in text
    assert "line 499" in text
    assert "… 460 lines …" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--kernels", ""], "name at least one"),
        (["--labs", "nothing"], "there is no labs/nothing"),
        (["--object", "./none.o"], "there is no such file"),
        (["--kernels", "6.x"], "give a series like"),
    ],
)
def test_bad_input_is_one_line(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDPLAB_RESULTS", str(tmp_path / "results"))
    with pytest.raises(InputError, match=said):
        cli.main(argv)
