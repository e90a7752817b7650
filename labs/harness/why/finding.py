# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a rule says when it fires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labs.harness.why.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """One cause.

    Attributes:
        name: of the cause, stable, for programs.
        cause: one sentence.
        evidence: what shows it, a line each.
        remedy: what to do: a command, or a change of code.
        healthy: nothing is wrong.
    """

    name: str
    cause: str
    evidence: tuple[str, ...]
    remedy: str
    healthy: bool = False


Rule = Callable[[Evidence], "Finding | None"]


def plural(count: int, what: str = "packet") -> str:
    """A count with its noun: 1 packet, 1,200 packets."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
