# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is known of one kernel: its column of the table, read from what `labs.kernels.inside` left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from labs.kernels.inside import ENDED, FEATURES, MAIN, MAIN_SAID, REPORT, SAID, lab_file

MAIN_ROW = "main lab"
CUT_OFF, NOT_REACHED = "cut off", "not reached"
LAST_WORDS = 20  # lines of what pytest had printed
PASSED, NONE_COLLECTED = 0, 5  # exit codes of pytest


@dataclass
class Cell:
    """A lab on a kernel.

    Attributes:
        passed, failed, skipped: how many of its tests.
        reasons: test → why it failed, with a log if there is one.
        skips: why tests were skipped → how many.
        unfinished: CUT_OFF if the guest ended while it ran, NOT_REACHED if before it began, else "".
        seconds: how long it took, by the guest's clock.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    skips: Counter[str] = field(default_factory=Counter)
    unfinished: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.unfinished:
            return self.unfinished
        if self.failed:
            return f"FAIL {self.failed} of {self.passed + self.failed}"
        if self.passed:
            return f"pass {self.passed}" + (f", skip {self.skipped}" if self.skipped else "")
        return f"skip {self.skipped}" if self.skipped else "no tests"


@dataclass
class Column:
    """A kernel: its release, why nothing or not all is known of it, its cells and features.

    Attributes:
        available: was there a kernel to boot; one that nobody offers has not failed.
        wall_s: how long its guest took, by our clock.
    """

    name: str
    release: str = ""
    problem: str = ""
    available: bool = True
    cells: dict[str, Cell] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    wall_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Did a lab fail, or the guest, or did it not get to all that was asked for."""
        return self.available and (
            bool(self.problem) or any(cell.failed or cell.unfinished for cell in self.cells.values())
        )


def read(name: str, release: str, folder: Path, labs: Sequence[str] = (), problem: str = "") -> Column:
    """A kernel's column, from the files in its folder.

    Args:
        name: as the kernel was asked for.
        release: which it is.
        folder: what the guest left.
        labs: those that it was to run; of each there is a cell, also when it came to none.
        problem: how the guest ended, if it was not by itself.
    """
    column = Column(name, release, problem)
    features = _json(folder / FEATURES)
    if isinstance(features, list):
        column.features = {one["name"]: one["reason"] or "yes" for one in features}
    column.cells[MAIN_ROW] = _main_lab(folder)
    for lab in labs:
        column.cells[f"labs/{lab}"] = _lab(folder, lab)
    return column


def _main_lab(folder: Path) -> Cell:
    if not (folder / MAIN_SAID).is_file():
        return Cell(unfinished=NOT_REACHED)
    code, _, said = (folder / MAIN_SAID).read_text().partition("\n")
    if code == "0":
        return Cell(passed=1)
    result = _json(folder / MAIN)
    reasons = result["verdict"]["reasons"] if isinstance(result, dict) else []
    return Cell(failed=1, reasons={MAIN_ROW: "\n".join(reasons) or said.strip()})


def _lab(folder: Path, lab: str) -> Cell:
    said = lab_file(folder, lab, SAID)
    if not said.is_file():
        return Cell(unfinished=NOT_REACHED)
    last_words = "\n".join(said.read_text(errors="replace").splitlines()[-LAST_WORDS:])
    ended = _json(lab_file(folder, lab, ENDED))
    if not isinstance(ended, dict):
        return Cell(unfinished=CUT_OFF, reasons={"what it had printed": last_words})
    cell = _counted(lab_file(folder, lab, REPORT))
    cell.seconds = ended["seconds"]
    code = ended["code"]
    if code not in (PASSED, NONE_COLLECTED) and not cell.failed:  # it broke outside of any test
        cell.failed = 1
        cell.reasons["pytest"] = f"exit code {code}\n{last_words}"
    return cell


def _counted(report: Path) -> Cell:
    cell = Cell()
    if not report.is_file():
        return cell
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 (we wrote the file ourselves)
        skipped = case.find("skipped")
        broken = [found for kind in ("failure", "error") if (found := case.find(kind)) is not None]
        if broken:
            cell.failed += 1
            name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
            cell.reasons[name] = broken[0].get("message", "") + "\n" + (broken[0].text or "")
        elif skipped is not None:
            cell.skipped += 1
            cell.skips[skipped.get("message", "")] += 1
        else:
            cell.passed += 1
    return cell


def _json(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
