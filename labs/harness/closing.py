# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The account with which every lab test ends, whether it asked for one or not."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from labs.harness.account import account
from labs.harness.account_copies import account_copies
from labs.harness.arrived import SINK, Arrived
from labs.harness.counters import Snapshot
from labs.harness.ledger import Ledger, LedgerError
from labs.harness.netns import NetNs
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.sink import Sink, SinkSpec
from labs.harness.sink_report import SinkReport
from labs.harness.traffic import TrafficReport


class Closing:
    """Keeps what a test sent and received, for the account at its end.

    Args:
        pipeline: what is under test.
        before: all counters before the first packet.
    """

    def __init__(self, pipeline: Pipeline, before: Snapshot) -> None:
        route, spec = pipeline.route, pipeline.topology.spec
        self._pipeline, self._before = pipeline, before
        self._sender, self._arrival = spec.end(route.sender).node, spec.end(route.arrival).node
        self._sent = self._retried = 0
        self._arrived = Arrived()

    @property
    def arrival(self) -> str:
        """The last device of the pipeline."""
        return self._pipeline.route.arrival

    def add_sent(self, role: str, report: TrafficReport) -> None:
        """Traffic that was sent from a role; only the sender's goes into the pipeline."""
        if role == self._sender:
            self._sent += report.sent
            self._retried += report.retries

    def add_received(self, role: str, report: ReceivedReport) -> None:
        """What a socket of a role received; only at the end of the pipeline it is what came through."""
        if role == self._arrival and self._arrived.by != SINK:
            self._arrived += Arrived.of(report)

    def add_verified(self, interface: str, report: SinkReport) -> None:
        """What a sink found in all; behind one at the end of the pipeline no socket tells more."""
        if interface == self.arrival:
            self._arrived = Arrived.of(report)

    def settle(self) -> None:
        """Waits until frames under way have arrived."""
        self._pipeline.counted_since(self._before)

    def owner_violations(self) -> int:
        """What the forwarder found if it checks each frame's owner; two owners balance every counter."""
        forwarder = self._pipeline.forwarder
        return forwarder.counters().get("owner_violations", 0) if forwarder is not None else 0

    def ledger(self) -> Ledger:
        """The account of all that was sent and received so far."""
        delta = self._pipeline.counted_since(self._before)
        return account(self._sent, delta, self._arrived, self._pipeline.route, retried=self._retried)

    def copies(self) -> Ledger | None:
        """The account of a mirror's copies; None where the forwarder has none."""
        spec = self._pipeline.spec.forwarder
        if spec is None or not spec.mirror:
            return None
        return account_copies(self._pipeline.counted_since(self._before), spec.mirror)


class RecordedReceiver(Receiver):
    """A receiver whose reports are kept for the closing account."""

    def __init__(self, closing: Closing | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closing = closing
        self._role = arguments[0].role
        self._told = 0

    def drain(self, *arguments: Any, **options: Any) -> ReceivedReport:
        """As `Receiver.drain`, but with what the full socket dropped since the last call, not in this one."""
        report = super().drain(*arguments, **options)
        report = dataclasses.replace(report, kernel_drops=self.drops - self._told)
        self._told = self.drops
        if self._closing is not None:
            self._closing.add_received(self._role, report)
        return report


class RecordedSink(Sink):
    """A sink whose findings are kept for the closing account when it is closed."""

    def __init__(
        self, closing: Closing | None, namespace: NetNs, interface: str, spec: SinkSpec, *, queues: int
    ) -> None:
        super().__init__(namespace, interface, spec, queues=queues)
        self._closing = closing

    def close(self) -> None:
        """Keeps what was found, detaches and unloads. Idempotent."""
        closing, self._closing = self._closing, None
        if closing is not None:
            with contextlib.suppress(TimeoutError):  # the account says it, if the test did not fail already
                closing.settle()
            closing.add_verified(self.interface, self.report())
        super().close()


def check(ledgers: Iterable[Ledger], stated: Mapping[str, int]) -> None:
    """Asserts that every frame of every account has a fate, and that the last has the losses stated.

    Raises:
        LedgerError: otherwise; says where the sum breaks and shows the table.
    """
    last: Ledger | None = None
    for last in ledgers:
        if not last.balanced:
            raise LedgerError(repr(last.balanced))
    if last is None or not stated:
        return
    fates = last.fates()
    for path, frames in stated.items():
        if fates.get(path, 0) != frames:
            raise LedgerError(f"{path}: stated {frames}, counted {fates.get(path, 0)}\n{last.table()}")


def stated_losses(markers: Iterable[Any]) -> dict[str, int]:
    """From the markers `loses("hop/fate", frames)` of a test."""
    return {str(marker.args[0]): int(marker.args[1]) for marker in markers}
