# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The fixtures for what is sent through a pipeline, what comes out of it, and the account of both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from labs.harness.account import account
from labs.harness.arrived import Arrived
from labs.harness.capture import Capture
from labs.harness.closing import Closing, RecordedReceiver, RecordedSink, check, stated_losses
from labs.harness.counters import Snapshot
from labs.harness.ledger import Ledger, LedgerError
from labs.harness.pipeline import Pipeline
from labs.harness.postmortem import FAILED, Postmortem
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.sink import SinkSpec
from labs.harness.sink_report import SinkReport
from labs.harness.topology import Topology
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport, send
from xdp.pyxdp.errors import InputError


@pytest.fixture
def closing(request: pytest.FixtureRequest) -> Iterator[Closing | None]:
    """The account at the end of a test that sends through a pipeline: unaccounted frames fail it.

    The accounts that the test made itself are held to the same; if it made none, one is made of all that
    `traffic` sent and `receiver` or `sink` received. `@pytest.mark.loses("hop/fate", frames)` states a loss
    that must be in it, `@pytest.mark.unbalanced("why")` says that it cannot balance.
    """
    if not {"pipeline", "forwarder"} & set(request.fixturenames):
        yield None
        return
    pipeline: Pipeline = request.getfixturevalue("pipeline")
    postmortem: Postmortem = request.getfixturevalue("postmortem")
    kept = Closing(pipeline, request.getfixturevalue("counters"))
    yield kept
    if request.node.stash.get(FAILED, False) or request.node.get_closest_marker("unbalanced"):
        return
    if kept.owner_violations():
        pytest.fail(
            f"{kept.owner_violations()} times a frame had another owner than it should", pytrace=False
        )
    stated = stated_losses(request.node.iter_markers("loses"))
    if not postmortem.ledgers:
        postmortem.ledgers.append(kept.ledger())
    if (copies := kept.copies()) is not None:
        postmortem.ledgers.insert(0, copies)  # the last is the packets' own, which losses are stated of
    try:
        check(postmortem.ledgers, stated)
    except LedgerError as error:
        problem = str(error)
    else:
        return
    pytest.fail(f"the account at the end of this lab: {problem}", pytrace=False)


@pytest.fixture
def traffic(topology: Topology, closing: Closing | None) -> Callable[..., TrafficReport]:
    """Sends: `traffic(plan)` out of gen0, or `traffic(plan, "sink")` out of that role's device.

    By scapy's engine, frame by frame; `traffic(plan, engine="xdp")` makes millions a second in the kernel,
    for the fixture `sink` to verify. Other options are those of `labs.harness.traffic.send`.
    """

    def run(
        plan: TrafficPlan | Traffic, role: str = "gen", *, engine: str = "scapy", **options: Any
    ) -> TrafficReport:
        if engine == "scapy":
            built = plan if isinstance(plan, Traffic) else Traffic(plan)
            report = built.send(topology[role], f"{role}0", **options)
        else:
            asked = plan.plan if isinstance(plan, Traffic) else plan
            report = send(asked, topology[role], f"{role}0", engine, **options)
        if closing is not None:
            closing.add_sent(role, report)
        return report

    return run


@pytest.fixture
def receiver(topology: Topology, closing: Closing | None) -> Iterator[Callable[..., Receiver]]:
    """Opens real UDP sockets: `receiver("gen", 40000)`."""
    with contextlib.ExitStack() as undo:

        def bind(role: str, port: int, address: str = "") -> Receiver:
            return undo.enter_context(RecordedReceiver(closing, topology[role], port, address))

        yield bind


@pytest.fixture
def sink(topology: Topology, closing: Closing | None) -> Iterator[Callable[..., RecordedSink]]:
    """Verifies stamped frames in the kernel, where they arrive: `sink(plan).drain(sent.sent)`.

    On the last device of the pipeline, or on the one that is named: `sink(plan, "sink0")`. A plan stands for
    the sink that expects exactly its frames; a `SinkSpec` says otherwise. Millions a second.
    """
    with contextlib.ExitStack() as undo:

        def attach(plan: TrafficPlan | SinkSpec, interface: str = "") -> RecordedSink:
            device = interface or (closing.arrival if closing is not None else "")
            if not device:
                raise InputError(
                    'ask for the fixture pipeline, or say where frames arrive: sink(plan, "dut0")'
                )
            spec = plan if isinstance(plan, SinkSpec) else SinkSpec.of(plan)
            (queues,) = (
                link.queues for link in topology.spec.links if device in [end.name for end in link.ends]
            )
            made = RecordedSink(closing, topology.namespace_of(device), device, spec, queues=queues)
            return undo.enter_context(made)

        yield attach


@pytest.fixture
def capture(topology: Topology, postmortem: Postmortem) -> Iterator[Callable[[str], Capture]]:
    """Captures a device's packets, kept as a pcap if the test fails: `capture("dut0")`."""
    with contextlib.ExitStack() as undo:

        def start(interface: str) -> Capture:
            started = undo.enter_context(Capture(topology.namespace_of(interface), interface))
            postmortem.captures.append(started)
            return started

        yield start


@pytest.fixture
def ledger(pipeline: Pipeline, counters: Snapshot, postmortem: Postmortem) -> Callable[..., Ledger]:
    """Makes the account of what happened since the test began: `ledger(sent, received).check()`.

    `expected` names the losses that are part of the test; options are those of `account`.
    """

    def make(
        sent: TrafficReport | int,
        received: ReceivedReport | SinkReport | Arrived | None = None,
        expected: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Ledger:
        made = account(
            sent if isinstance(sent, int) else sent.sent,
            pipeline.counted_since(counters),
            received if isinstance(received, Arrived) else Arrived.of(received) if received else Arrived(),
            pipeline.route,
            retried=0 if isinstance(sent, int) else sent.retries,
            expected=expected,
            **options,
        )
        postmortem.ledgers.append(made)
        return made

    return make
