# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a failed lab prints: the spec, the ledger, the XSKMAP, the rings, and where its packets were kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from labs.harness.capture import Capture
    from labs.harness.ledger import Ledger
    from labs.harness.pipeline import Pipeline


@dataclass
class Postmortem:
    """Filled by the fixtures of a lab while it runs."""

    name: str
    pipeline: Pipeline | None = None
    ledgers: list[Ledger] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)

    def sections(self) -> list[tuple[str, str]]:
        """Titles and texts, for pytest's report."""
        found = []
        if self.pipeline is not None:
            found.append(("spec", json.dumps(self.pipeline.spec.to_dict(), indent=2)))
            found.append(("XSKMAP and rings", self._xskmap(self.pipeline)))
            found.append(("program counters", json.dumps(self.pipeline.program.counters(), indent=2)))
            forwarder = self.pipeline.forwarder
            if forwarder is not None:
                counters = {name: value for name, value in forwarder.counters().items() if value}
                found.append(("forwarder counters", json.dumps(counters, indent=2)))
                found.append(("forwarder's output", forwarder.stdout + forwarder.stderr))
        found += [("ledger", ledger.table()) for ledger in self.ledgers]
        found += [("packets", self._keep(capture)) for capture in self.captures]
        return found

    def _xskmap(self, pipeline: Pipeline) -> str:
        from rich.console import Console

        from xdp.xskmap_table import table

        console = Console(width=110, color_system=None)
        try:
            with console.capture() as drawn:
                console.print(table([pipeline.xskmap()], only_occupied=True))
        except (InputError, KernelError, OSError) as error:
            return f"cannot be read: {error}"
        return drawn.get()

    def _keep(self, capture: Capture) -> str:
        from labs.harness.results import default_root

        target = default_root() / "failed" / f"{self.name}.pcap"
        target.parent.mkdir(parents=True, exist_ok=True)
        capture.write(target)
        return f"kept in {target}"


POSTMORTEM = pytest.StashKey[Postmortem]()
