# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where text for people goes."""

from __future__ import annotations

from rich.console import Console


class PipeConsole(Console):
    """A console whose reader may go away: BrokenPipeError goes up, where rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Called while BrokenPipeError is handled."""
        raise BrokenPipeError


def console(*, to_stderr: bool = False) -> Console:
    """A console as wide as the terminal; on stderr when stdout carries JSON."""
    return PipeConsole(stderr=to_stderr, highlight=False, soft_wrap=False)
