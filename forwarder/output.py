# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a forwarder prints while it runs: lines for logs, a table for a terminal, JSON for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import snapshot
from .stats import Meter
from .stdout import Stdout

if TYPE_CHECKING:
    from rich.live import Live

    from .spec import ForwarderSpec
    from .stats import Counters

PATIENCE_S = 5.0  # for whoever reads the report
Take = Callable[[], dict[str, Any]]


class Output(Protocol):
    """One form; its calls come in this order, `interval` any number of times."""

    def ready(self, message: dict[str, Any], /) -> None:
        """The forwarder is ready; `message` is the ready line."""

    def interval(self) -> None:
        """An interval is over."""

    def report(self, message: dict[str, Any]) -> None:
        """It has ended."""

    def close(self) -> None:
        """Gives the terminal back; may be called at any time, and again."""


def choose(spec: ForwarderSpec, counters: Counters, take: Take) -> Output:
    """The form that the spec asks for, or that fits to what stdout is.

    Args:
        spec: says `json_lines`, `plain` and `interval`.
        counters: for the plain lines, which need no more.
        take: makes a snapshot.
    """
    if spec.json_lines:
        return JsonLines(take)
    if spec.interval and not spec.plain and sys.stdout.isatty():
        return LiveTable(take)
    return Lines(counters)


class Lines:
    """A line each interval, and the report as JSON."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._meter = Meter()
        self._stdout = Stdout()

    def ready(self, _message: dict[str, Any]) -> None:
        """Rates count from here."""
        self._meter = Meter()

    def interval(self) -> None:
        """Prints the line."""
        total = self._counters.total()
        self._stdout.offer(self._meter.line(total["rx_packets"], total["rx_bytes"]))

    def report(self, message: dict[str, Any]) -> None:
        """Prints the report."""
        _finish(self._stdout, json.dumps(message))

    def close(self) -> None:
        """Has nothing to give back."""


class JsonLines:
    """One object a line: "ready", each "interval", "report"; see `lines.schema.json`.

    A reader that does not keep up gets fewer and longer intervals.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._last: dict[str, Any] = {}
        self._stdout = Stdout()

    def ready(self, message: dict[str, Any]) -> None:
        """Prints what was granted."""
        self._last = self._take()
        self._stdout.offer(json.dumps({"type": "ready", "schema": snapshot.SCHEMA, **message}))

    def interval(self) -> None:
        """Prints the interval."""
        now = self._take()
        if self._stdout.offer(json.dumps(snapshot.interval(self._last, now))):
            self._last = now

    def report(self, message: dict[str, Any]) -> None:
        """Prints the report."""
        _finish(self._stdout, json.dumps({"type": "report", "schema": snapshot.SCHEMA, **message}))

    def close(self) -> None:
        """Has nothing to give back."""


class LiveTable:
    """A table that is redrawn in place; the last one stays, with a summary below.

    All that drawing needs is imported when it is made.
    """

    def __init__(self, take: Take) -> None:
        from rich.console import Console
        from rich.live import Live

        from .table import table

        self._table = table
        self._take = take
        self._last: dict[str, Any] = take()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (pathlib is dear at start)
            Console(file=nowhere).print(table(snapshot.interval(self._last, self._last)))
        # Without a thread of its own: it would compete with the queues' for a core.
        self._live: Live | None = Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def ready(self, _message: dict[str, Any]) -> None:
        """Draws the table with what moved until now: nothing."""
        self._last = self._take()
        if self._live is not None:
            with contextlib.suppress(BrokenPipeError):
                self._live.start()
        self._draw(self._last)

    def interval(self) -> None:
        """Redraws it."""
        self._draw(self._take())

    def _draw(self, now: dict[str, Any]) -> None:
        shown = self._table(snapshot.interval(self._last, now))
        self._last = now
        if self._live is not None:
            with contextlib.suppress(BrokenPipeError):
                self._live.update(shown, refresh=True)

    def report(self, message: dict[str, Any]) -> None:
        """Ends the table with a line that sums up."""
        self.close()
        counters, frames = message["counters"], message["frames"]
        fates = {
            "received": counters["rx_packets"],
            "sent": counters["tx_packets"],
            "to the host": counters["host_packets"],
            "dropped": sum(counters[name] for name in snapshot.DROPS),
        }
        shown = [f"{name} {count:,}" for name, count in fates.items() if count or name != "to the host"]
        found = "every one found" if frames["conserved"] else "NOT all found"
        seconds = message["duration_ns"] / 1e9
        print(f"{', '.join(shown)} in {seconds:.1f} s; {frames['frames']:,} frames, {found}", flush=True)

    def close(self) -> None:
        """Leaves the last table where it is and shows the cursor again."""
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(BrokenPipeError):
                live.stop()


def _finish(stdout: Stdout, report: str) -> None:
    if not stdout.insist(report, PATIENCE_S):
        print("xdplab: nobody reads stdout: the report is not all there", file=sys.stderr)
