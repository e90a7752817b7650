# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The answer for people: one sentence, what shows it, what to do; within 80 columns, or the terminal's."""

from __future__ import annotations

import textwrap

from labs.harness.why.finding import Finding

LABEL = 10


def paragraph(label: str, text: str, width: int) -> str:
    """A labelled paragraph, its text beside the label. Commands are not broken at hyphens."""
    lines = textwrap.wrap(text, max(width - LABEL, 20), break_on_hyphens=False, break_long_words=False) or [
        ""
    ]
    return "\n".join(f"{label if index == 0 else '':<{LABEL}}{line}" for index, line in enumerate(lines))


def render(where: str, found: Finding, width: int = 80) -> str:
    """The answer for one device."""
    parts = [
        paragraph("device", where, width),
        paragraph("healthy" if found.healthy else "cause", found.cause, width),
    ]
    parts += [
        paragraph("seen" if index == 0 else "", line, width) for index, line in enumerate(found.evidence)
    ]
    parts.append(paragraph("remedy", found.remedy, width))
    return "\n".join(parts)
