# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""CI's check that the labs were really run, tried on reports of real pytest runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_labs.py"
HEAD = "import pytest\nlab = pytest.mark.lab\n"
RUN = """
@lab
def test_it_runs(): pass
class TestGroup:
    @lab
    @pytest.mark.parametrize("text", ["a", "b[c]", "d::e", "f/g.py"])
    def test_of_many(self, text): pass
@pytest.mark.skip(reason="no lab, may be skipped")
def test_other(): pass
"""
SKIPPED = '@lab\n@pytest.mark.skipif(True, reason="no luck today")\ndef test_it_skips(): pass\n'


def check(folder: Path, tests: str, *select: str) -> subprocess.CompletedProcess[str]:
    """Run tests as CI does, then the check on their report."""
    (folder / "sub").mkdir()
    (folder / "sub" / "test_some.py").write_text(HEAD + tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = lab\n")

    def run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            input=text,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    run("-m", "pytest", "--junitxml=junit.xml", *select)
    labs = run("-m", "pytest", "-m", "lab", "--collect-only", "-q")
    return run(str(SCRIPT), "junit.xml", text=labs.stdout)


def test_a_run_of_all_labs_is_accepted_whatever_else_was_skipped(tmp_path: Path) -> None:
    checked = check(tmp_path, RUN)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "all 5 labs" in checked.stdout


def test_a_skipped_lab_fails_and_is_named_with_its_reason(tmp_path: Path) -> None:
    checked = check(tmp_path, RUN + SKIPPED)
    assert checked.returncode == 1
    assert checked.stderr.count("\n") == 1
    assert "test_it_skips was skipped: no luck today" in checked.stderr


def test_labs_that_were_left_out_fail(tmp_path: Path) -> None:
    checked = check(tmp_path, RUN, "-m", "not lab")
    assert checked.returncode == 1
    assert checked.stderr.count("did not run") == 5


def test_a_run_without_any_lab_fails(tmp_path: Path) -> None:
    checked = check(tmp_path, "def test_other(): pass\n")
    assert (checked.returncode, checked.stderr) == (1, "check_labs: there is no lab\n")


def test_a_run_without_a_report_fails(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "junit.xml")]
    checked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert checked.returncode == 2
