# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a failed lab prints: the likely cause, spec, ledger, XSKMAP, rings, and where its packets are."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labs.harness.capture import Capture
    from labs.harness.forwarder_process import ForwarderProcess
    from labs.harness.ledger import Ledger
    from labs.harness.pipeline import Pipeline

MAX_NAME = 150  # a file's name ends at 255 bytes (NAME_MAX, linux/limits.h)


@dataclass
class Postmortem:
    """Filled by the fixtures of a lab while it runs.

    Attributes:
        name: the test's name with its file.
        pipeline: what was under test.
        recorders: captures of the ends that send to it and receive from it, made for the case of a failure.
        ledgers, captures: those that the test asked for.
    """

    name: str
    pipeline: Pipeline | None = None
    recorders: list[Capture] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)

    def sections(self) -> list[tuple[str, str]]:
        """Titles and texts, for pytest's report; what cannot be told any more says why."""
        return [(title, _told(tell)) for title, tell in self._parts()]

    def _parts(self) -> Iterator[tuple[str, Callable[[], str]]]:
        pipeline = self.pipeline
        if pipeline is not None:
            yield "why", lambda: _why(pipeline)
            yield "spec", lambda: json.dumps(pipeline.spec.to_dict(), indent=2)
            yield "XSKMAP and rings", lambda: _xskmap(pipeline)
            yield "program counters", lambda: json.dumps(pipeline.program.counters(), indent=2)
            forwarder = pipeline.forwarder
            if forwarder is not None:
                yield "forwarder counters", lambda: _counters(forwarder)
                yield "forwarder's output", lambda: forwarder.stdout + forwarder.stderr
        for ledger in self.ledgers:
            yield "ledger", ledger.table
        for capture in (*self.captures, *self.recorders):
            yield f"packets of {capture.interface}", functools.partial(self._keep, capture)

    def _keep(self, capture: Capture) -> str:
        from labs.harness.results import default_root

        what = "wanted" if capture in self.captures else "recorded"
        name = re.sub(r"[^\w.-]+", "-", self.name).strip("-")[-MAX_NAME:]
        target = default_root() / "failed" / f"{name}-{what}-{capture.interface}.pcap"
        target.parent.mkdir(parents=True, exist_ok=True)
        capture.write(target)
        lost = f", {capture.drops} more did not fit" if capture.drops else ""
        return f"{len(capture.frames)} kept in {target}{lost}"


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as error:  # noqa: BLE001 (a test may have closed or broken anything; its own failure counts)
        return f"cannot be told: {type(error).__name__}: {error}"


def _why(pipeline: Pipeline) -> str:
    from labs.harness.why.lab import diagnose_pipeline  # only a failed lab needs it

    return diagnose_pipeline(pipeline)


def _counters(forwarder: ForwarderProcess) -> str:
    return json.dumps({name: value for name, value in forwarder.counters().items() if value}, indent=2)


def _xskmap(pipeline: Pipeline) -> str:
    from rich.console import Console

    from xdp.xskmap_table import table

    console = Console(width=110, color_system=None)
    with console.capture() as drawn:
        console.print(table([pipeline.xskmap()], only_occupied=True))
    return drawn.get()


POSTMORTEM = pytest.StashKey[Postmortem]()
FAILED = pytest.StashKey[bool]()  # the test itself, before its fixtures are torn down
