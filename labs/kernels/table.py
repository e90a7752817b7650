# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One table, a lab a row, a kernel a column: what passed, failed or was skipped, and why; and features.

Pure: it reads the files that `labs.kernels.inside` left, and makes text of them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from labs.kernels.inside import FEATURES, JUNIT, MAIN, MAIN_SAID

MAIN_ROW = "main lab"
LOG_LINES = 40  # of a verifier's log or a traceback in the text
WIDTH = 76


@dataclass
class Cell:
    """A lab on a kernel.

    Attributes:
        passed, failed, skipped: how many of its tests.
        reasons: test → why it failed, with a log if there is one.
        skips: why tests were skipped → how many.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    skips: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        if self.failed:
            return f"FAIL {self.failed} of {self.passed + self.failed}"
        if self.passed:
            return f"pass {self.passed}" + (f", skip {self.skipped}" if self.skipped else "")
        return f"skip {self.skipped}" if self.skipped else "not run"


@dataclass
class Column:
    """A kernel: its release, why nothing is known of it ("" if something is), its cells and features."""

    name: str
    release: str = ""
    problem: str = ""
    available: bool = True
    cells: dict[str, Cell] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Did a lab fail, or the guest; a kernel that nobody offers has not failed."""
        return (self.available and bool(self.problem)) or any(cell.failed for cell in self.cells.values())


def read(name: str, release: str, folder: Path, problem: str = "") -> Column:
    """A kernel's column, from the files in its folder."""
    column = Column(name, release, problem)
    features = _json(folder / FEATURES)
    if isinstance(features, list):
        column.features = {one["name"]: one["reason"] or "yes" for one in features}
    if (folder / MAIN_SAID).is_file():
        column.cells[MAIN_ROW] = _main_lab(folder)
    if (folder / JUNIT).is_file():
        column.cells |= _labs(folder / JUNIT)
    return column


def _main_lab(folder: Path) -> Cell:
    code, _, said = (folder / MAIN_SAID).read_text().partition("\n")
    if code == "0":
        return Cell(passed=1)
    result = _json(folder / MAIN)
    reasons = result["verdict"]["reasons"] if isinstance(result, dict) else []
    return Cell(failed=1, reasons={MAIN_ROW: "\n".join(reasons) or said.strip()})


def _labs(report: Path) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 (we wrote the file ourselves)
        lab = "/".join(case.get("classname", "").split(".")[:2])
        if lab.startswith("xdp/"):
            lab = "xdp"
        cell = cells.setdefault(lab, Cell())
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
    return cells


def labs_table(columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a lab each."""
    rows = list(dict.fromkeys(row for column in columns for row in column.cells))
    head = ["lab", *(column.name for column in columns)]
    return head, [[row, *(_cell(column, row) for column in columns)] for row in rows]


def features_table(columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a feature each, yes or no."""
    known = [column for column in columns if column.features]
    names = list(dict.fromkeys(name for column in known for name in column.features))
    head = ["feature", *(column.name for column in known)]
    return head, [
        [name, *("yes" if column.features.get(name) == "yes" else "no" for column in known)] for name in names
    ]


def _cell(column: Column, row: str) -> str:
    if row in column.cells:
        return str(column.cells[row])
    return "none to be had" if not column.available else "not run"


def notes(columns: Sequence[Column]) -> list[str]:
    """What the cells cannot hold: logs of failures, reasons of skips, kernels that could not be had."""
    lines: list[str] = []
    for column in columns:
        if column.problem:
            lines += [f"{column.name}: {column.problem}", ""]
        for lab, cell in column.cells.items():
            for test, reason in cell.reasons.items():
                lines += [f"{column.name}: {lab}: {test} failed", *_indented(reason), ""]
    for reason, places in sorted(_skips(columns).items()):
        lines.append(f"skipped on {', '.join(places)}: {reason}")
    return lines


def _skips(columns: Sequence[Column]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in columns:
        for reason in sorted({reason for cell in column.cells.values() for reason in cell.skips}):
            found.setdefault(reason, []).append(column.name)
    return found


def _indented(text: str) -> list[str]:
    lines = text.strip().splitlines()
    left_out = len(lines) - LOG_LINES
    if left_out > 0:
        half = LOG_LINES // 2
        lines = [*lines[:half], f"… {left_out} lines …", *lines[-half:]]
    return [f"    {line}" for line in lines]


def markdown(columns: Sequence[Column]) -> str:
    """All of it as a page."""
    parts = ["# Labs on kernels", ""]
    parts += [f"- {column.name}: {column.release or column.problem}" for column in columns]
    for head, rows in (labs_table(columns), features_table(columns)):
        if rows:
            parts += ["", _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    said = notes(columns)
    if said:
        parts += ["", "```", *said, "```"]
    return "\n".join(parts) + "\n"


def to_dict(columns: Sequence[Column]) -> dict[str, object]:
    """Ready for JSON."""
    return {
        column.name: {
            "release": column.release,
            "problem": column.problem,
            "features": column.features,
            "labs": {
                lab: {
                    "passed": cell.passed,
                    "failed": cell.failed,
                    "skipped": cell.skipped,
                    "failures": cell.reasons,
                    "skips": dict(cell.skips),
                }
                for lab, cell in column.cells.items()
            },
        }
        for column in columns
    }


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


def _json(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
