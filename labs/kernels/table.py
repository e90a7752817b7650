# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One table, a lab a row, a kernel a column: what passed, failed or was skipped, and why; and features.

Pure: columns in, text and JSON out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from labs.kernels.column import Column

TIME_ROW = "time"
LOG_LINES = 40  # of a verifier's log or a traceback in the text


def labs_table(columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a lab each, and how long all of it took."""
    rows = list(dict.fromkeys(row for column in columns for row in column.cells))
    head = ["lab", *(column.name for column in columns)]
    body = [[row, *(_cell(column, row) for column in columns)] for row in rows]
    if rows:
        body.append([TIME_ROW, *(f"{column.wall_s:.0f} s" if column.wall_s else "" for column in columns)])
    return head, body


def features_table(columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a feature each, yes or no."""
    known = [column for column in columns if column.features]
    names = list(dict.fromkeys(name for column in known for name in column.features))
    head = ["feature", *(column.name for column in known)]
    return head, [
        [name, *("yes" if column.features.get(name) == "yes" else "no" for column in known)] for name in names
    ]


def _cell(column: Column, row: str) -> str:
    return str(column.cells[row]) if row in column.cells else "none to be had"


def notes(columns: Sequence[Column]) -> list[str]:
    """What the cells cannot hold: logs of failures, reasons of skips, kernels that could not be had."""
    lines: list[str] = []
    for column in columns:
        if column.problem:
            lines += [f"{column.name}: {column.problem}", ""]
        for lab, cell in column.cells.items():
            for test, reason in cell.reasons.items():
                what = f"{cell.unfinished}: {test}" if cell.unfinished else f"{test} failed"
                lines += [f"{column.name}: {lab}: {what}", *_indented(reason), ""]
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
            "seconds": column.wall_s,
            "features": column.features,
            "labs": {
                lab: {
                    "passed": cell.passed,
                    "failed": cell.failed,
                    "skipped": cell.skipped,
                    "failures": cell.reasons,
                    "skips": dict(cell.skips),
                    "unfinished": cell.unfinished,
                    "seconds": cell.seconds,
                }
                for lab, cell in column.cells.items()
            },
        }
        for column in columns
    }


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"
