# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The result for people: a table of cases and modes, and why what is not passed is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from labs.conformance.case import Result
from labs.conformance.mode import KINDS, Mode

SIGNS = {"pass": "✓", "fail": "✗", "skip": "s"}
NOT_RUN = "·"
LEGEND = "✓ pass  ✗ fail  s skip  · makes no difference;  w need_wakeup  b busy polling"
CELL = 3


def table(results: Sequence[Result], modes: Sequence[Mode]) -> str:
    """A line a case, a column a mode."""
    found = {(one.case, one.mode): one for one in results}
    cases = list(dict.fromkeys(one.case for one in results))
    width = max([len(case) for case in cases] + [4]) + 2
    groups = [(kind, [mode for mode in modes if mode.kind == kind]) for kind in KINDS]
    groups = [(kind, members) for kind, members in groups if members]
    spans = [max(CELL * len(members), len(kind) + 1) for kind, members in groups]
    lines = [
        " " * width + "".join(f"{kind:<{span + 1}}" for (kind, _), span in zip(groups, spans, strict=True))
    ]
    heads = ["".join(f"{_short(mode):<{CELL}}" for mode in members) for _, members in groups]
    lines.append(
        " " * width + "".join(f"{head:<{span + 1}}" for head, span in zip(heads, spans, strict=True))
    )
    for case in cases:
        cells = []
        for (_, members), span in zip(groups, spans, strict=True):
            signs = (found.get((case, mode.name)) for mode in members)
            row = "".join(f"{SIGNS[one.outcome] if one else NOT_RUN:<{CELL}}" for one in signs)
            cells.append(f"{row:<{span + 1}}")
        lines.append(f"{case:<{width}}{''.join(cells)}")
    return "\n".join(line.rstrip() for line in lines)


def _short(mode: Mode) -> str:
    return ("w" * mode.need_wakeup + "b" * mode.busy_poll) or "-"


def reasons(results: Sequence[Result]) -> list[str]:
    """A line for each failure, and one for each reason of skips."""
    lines = [f"✗ {one.case} in {one.mode}: {one.reason}" for one in results if one.outcome == "fail"]
    skips = Counter(one.reason for one in results if one.outcome == "skip")
    for reason, count in skips.items():
        cases = list(
            dict.fromkeys(one.case for one in results if one.outcome == "skip" and one.reason == reason)
        )
        who = cases[0] if len(cases) == 1 else f"{len(cases)} cases"
        lines.append(f"s {who}, {count} runs: {reason}")
    return lines


def details(results: Sequence[Result]) -> list[str]:
    """What cases tell besides, each once."""
    told: dict[tuple[str, str], list[str]] = {}
    for one in results:
        if one.detail:
            told.setdefault((one.case, one.detail), []).append(one.mode)
    first: dict[str, tuple[str, int]] = {}
    for (case, detail), modes in told.items():
        if case not in first or len(modes) > first[case][1]:
            first[case] = (detail, len(modes))
    return [f"  {case}: {detail}" for case, (detail, _) in first.items()]
