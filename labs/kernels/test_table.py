# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The table says of each lab on each kernel what its files say, and keeps every reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labs.kernels import cli, column, inside, table
from xdp.pyxdp.errors import InputError

XSKMAP = """<testsuites><testsuite>
<testcase classname="labs.xskmap.test_slots" name="test_one"/>
<testcase classname="labs.xskmap.test_slots" name="test_two">
<failure message="no!">Traceback</failure></testcase>
<testcase classname="labs.xskmap.test_slots" name="test_three"><skipped message="ext: refused"/></testcase>
</testsuite></testsuites>
"""
WHY = """<testsuites><testsuite>
<testcase classname="labs.why.test_a.TestB" name="test_four">
<error message="left behind">fd 5</error></testcase>
</testsuite></testsuites>
"""
PASSES = '<testsuites><testsuite><testcase classname="labs.a" name="b"/></testsuite></testsuites>'
REFUSED = "xdplab: load BPF object: Invalid argument\nprocessed 3 insns\nR1 type=scalar expected=ctx"


def left(folder: Path, *, code: int, said: str = "", main: object = None) -> Path:
    """The files of one kernel, before any lab."""
    folder.mkdir()
    features = [
        {"name": "ext", "reason": "refused"},
        {"name": "xdp", "reason": ""},
    ]
    (folder / inside.FEATURES).write_text(json.dumps(features))
    (folder / inside.MAIN_SAID).write_text(f"{code}\n{said}")
    (folder / inside.MAIN).write_text(json.dumps(main) if main else "")
    return folder


def lab(folder: Path, name: str, said: str = "", report: str = "", code: int | None = None) -> None:
    """The files of one lab; without an exit code it did not end."""
    inside.lab_file(folder, name, inside.SAID).write_text(said)
    if report:
        inside.lab_file(folder, name, inside.REPORT).write_text(report)
    if code is not None:
        inside.lab_file(folder, name, inside.ENDED).write_text(json.dumps({"code": code, "seconds": 2.5}))


def test_each_lab_is_counted_with_its_reasons(tmp_path: Path) -> None:
    folder = left(tmp_path / "k", code=0)
    lab(folder, "xskmap", report=XSKMAP, code=1)
    lab(folder, "why", report=WHY, code=1)
    lab(folder, "harness/tests", report=PASSES, code=0)
    found = column.read("6.12", "6.12.1-amd64", folder, ["xskmap", "why", "harness/tests"])
    assert {name: str(cell) for name, cell in found.cells.items()} == {
        "main lab": "pass 1",
        "labs/xskmap": "FAIL 1 of 2",
        "labs/why": "FAIL 1 of 1",
        "labs/harness/tests": "pass 1",
    }
    assert found.failed
    assert found.cells["labs/why"].seconds == 2.5
    said = "\n".join(table.notes([found]))
    assert "6.12: labs/xskmap: test_slots::test_two failed\n    no!\n    Traceback" in said
    assert "skipped on 6.12: ext: refused" in said
    assert "fd 5" in said


def test_what_ended_before_the_guest_did_stands_and_the_rest_is_no_pass(tmp_path: Path) -> None:
    folder = left(tmp_path / "k", code=0)
    lab(folder, "xskmap", report=PASSES, code=0)
    lab(folder, "why", said="labs/why/test_a.py ..")
    labs = ["xskmap", "why", "ledger"]
    found = column.read("6.12", "6.12.1", folder, labs, "the command had not ended after 60 s")
    found.wall_s = 60.4
    assert found.failed
    _, rows = table.labs_table([found])
    assert rows == [
        ["main lab", "pass 1"],
        ["labs/xskmap", "pass 1"],
        ["labs/why", "cut off"],
        ["labs/ledger", "not reached"],
        ["time", "60 s"],
    ]
    said = "\n".join(table.notes([found]))
    assert "6.12: labs/why: cut off: what it had printed\n    labs/why/test_a.py .." in said
    assert "6.12: the command had not ended after 60 s" in said
    labs_in_json = table.to_dict([found])["6.12"]["labs"]  # type: ignore[index]
    assert labs_in_json["labs/ledger"]["unfinished"] == "not reached"


def test_a_guest_that_did_not_get_to_a_lab_has_failed_however_it_ended(tmp_path: Path) -> None:
    assert column.read("6.12", "6.12.1", left(tmp_path / "k", code=0), ["ledger"]).failed


@pytest.mark.parametrize(("code", "shown"), [(4, "FAIL 1 of 2"), (-11, "FAIL 1 of 2"), (0, "pass 1")])
def test_a_lab_that_broke_outside_of_any_test_is_no_pass(code: int, shown: str, tmp_path: Path) -> None:
    folder = left(tmp_path / "k", code=0)
    lab(folder, "why", said="ERROR: file or directory not found", report=PASSES, code=code)
    found = column.read("6.12", "6.12.1", folder, ["why"])
    assert str(found.cells["labs/why"]) == shown
    assert ("file or directory not found" in "\n".join(table.notes([found]))) is bool(code)


def test_a_folder_without_labs_says_so(tmp_path: Path) -> None:
    folder = left(tmp_path / "k", code=0)
    lab(folder, "zerocopy", code=5)
    found = column.read("6.12", "6.12.1", folder, ["zerocopy"])
    assert str(found.cells["labs/zerocopy"]) == "no tests"
    assert not found.failed


def test_what_a_verifier_refuses_is_one_red_cell_with_its_log(tmp_path: Path) -> None:
    old = column.read("5.10", "5.10.0-9-amd64", left(tmp_path / "old", code=2, said=REFUSED))
    new = column.read("6.12", "6.12.1-amd64", left(tmp_path / "new", code=0))
    head, rows = table.labs_table([old, new])
    assert head == ["lab", "5.10", "6.12"]
    assert rows[0] == ["main lab", "FAIL 1 of 1", "pass 1"]
    assert "R1 type=scalar expected=ctx" in "\n".join(table.notes([old, new]))
    assert (old.failed, new.failed) == (True, False)


def test_a_verdict_of_fail_names_its_reasons(tmp_path: Path) -> None:
    verdict = {"verdict": {"pass": False, "reasons": ["tx: 3 unaccounted"]}}
    found = column.read("6.1", "6.1.0-1-amd64", left(tmp_path / "k", code=1, main=verdict))
    assert found.cells[column.MAIN_ROW].reasons == {column.MAIN_ROW: "tx: 3 unaccounted"}


def test_a_guest_that_panicked_failed_and_a_kernel_that_nobody_offers_did_not(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    panicked = column.read("6.1", "6.1.0-1", tmp_path / "k", problem="the guest's kernel panicked: …")
    absent = column.Column("5.15", problem="no package source has a kernel 5.15", available=False)
    works = column.read("6.12", "6.12.1", left(tmp_path / "w", code=0))
    assert [one.failed for one in (panicked, absent, works)] == [True, False, False]
    _, rows = table.labs_table([panicked, absent, works])
    assert rows[0] == ["main lab", "not reached", "none to be had", "pass 1"]
    page = table.markdown([panicked, absent, works])
    assert "- 5.15: no package source has a kernel 5.15" in page
    assert "| ext | no |" in page  # only the kernel that was asked has a column of features


def test_a_long_log_keeps_both_ends(tmp_path: Path) -> None:
    said = "\n".join(f"line {number}" for number in range(500))
    found = column.read("6.1", "6.1", left(tmp_path / "k", code=2, said=said))
    text = "\n".join(table.notes([found]))
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
