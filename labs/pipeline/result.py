# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the main lab found, and its JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from labs.harness.account import MISSED
from labs.harness.environment import environment
from labs.harness.ledger import Ledger
from labs.harness.ping import PingReport
from labs.harness.receiver import ReceivedReport
from labs.harness.results import SCHEMA_VERSION
from labs.harness.sink_report import SinkReport
from labs.harness.traffic import TrafficReport
from labs.pipeline.spec import LabSpec
from xdp.watch_events import Drop
from xdp.xskmap_model import XskMap


@dataclass
class LabResult:
    """What the lab found; filled step by step, so that a run that broke off tells how far it came."""

    spec: LabSpec
    run: str
    started: str
    pipeline: dict[str, Any] = field(default_factory=dict)
    granted: dict[str, Any] = field(default_factory=dict)
    xskmap: XskMap | None = None
    counted: dict[str, int] = field(default_factory=dict)
    kernel_drops: tuple[Drop, ...] = ()
    unwatched: str = "the traffic did not begin"
    verdicts: dict[str, int] = field(default_factory=dict)
    unseen: str = "the traffic did not begin"
    sent: TrafficReport | None = None
    received: ReceivedReport | SinkReport | None = None
    host_received: int = 0
    forwarder: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    ping_without: PingReport | None = None
    ping_with: PingReport | None = None
    timings_ns: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.reasons

    @property
    def interrupted(self) -> bool:
        """Ctrl-C ended the traffic early."""
        return self.sent is not None and self.sent.interrupted

    def to_dict(self) -> dict[str, Any]:
        """`run.json`; its schema is labs/harness/run.schema.json."""
        return {
            "schema": SCHEMA_VERSION,
            "lab": "pipeline",
            "run": self.run,
            "started": self.started,
            "environment": environment(),
            "spec": self.pipeline,
            "plan": {
                "packets": self.spec.packets,
                "rate_pps": self.spec.rate_pps,
                "port": self.spec.port,
                "payload_bytes": self.spec.payload_bytes,
                "engine": self.spec.engine,
            },
            "granted": self.granted,
            "xskmap": self.xskmap.as_dict(only_occupied=True) if self.xskmap else None,
            "counters": self.counted,
            "kernel_drops": {
                "watched": not self.unwatched,
                "reason": self.unwatched,
                "missed": self.counted.get(MISSED, 0),
                "drops": [drop.to_dict() for drop in self.kernel_drops],
            },
            "verdicts": {"seen": not self.unseen, "reason": self.unseen, "frames": self.verdicts},
            "forwarder": self.forwarder,
            "traffic": self.sent.to_dict() if self.sent else None,
            "received": self.received.to_dict() if self.received else None,
            "ledger": self.ledger.to_dict() if self.ledger else None,
            "ping": {
                "without": dataclasses.asdict(self.ping_without) if self.ping_without else None,
                "with": dataclasses.asdict(self.ping_with) if self.ping_with else None,
            },
            "timings_ns": self.timings_ns,
            "verdict": {"pass": self.passed, "reasons": self.reasons},
        }
