# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic through the main lab's pipeline: from scapy to a UDP socket, or from XDP to the kernel's sink."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from labs.harness.account import DROPPED_BY_XDP, account
from labs.harness.account_verdicts import seen
from labs.harness.arrived import Arrived
from labs.harness.packets import SOURCE_PORT
from labs.harness.pipeline import Pipeline
from labs.harness.receiver import Receiver
from labs.harness.sink import Sink, SinkSpec
from labs.harness.traffic import Traffic, send
from labs.pipeline.result import LabResult
from labs.pipeline.spec import LabSpec
from xdp.watch_events import Drop
from xdp.watch_names import UNSAID

RECEIVE_DEADLINE_S = 5.0
Progress = Callable[[int], None]


def exchange(pipeline: Pipeline, spec: LabSpec, result: LabResult, progress: Progress | None = None) -> None:
    """Sends, receives, and makes the ledger of it."""
    with Receiver(pipeline.topology["dut"], spec.port) as host:
        arrived = (_to_sink if spec.verified else _to_socket)(pipeline, spec, result, progress)
        result.unwatched, result.unseen = pipeline.unwatched, pipeline.unseen
        result.verdicts = seen(result.counted) or {}
        drops = pipeline.drop_watch.drops() if pipeline.drop_watch else ()
        result.kernel_drops = tuple(drop for drop in drops if not (spec.verified and _is_the_sinks(drop)))
        result.host_received = host.drain(0).count
    assert result.sent is not None
    result.timings_ns["traffic"] = result.sent.duration_ns
    result.ledger = account(
        result.sent.sent,
        result.counted,
        arrived,
        pipeline.route,
        retried=result.sent.retries,
        delivered={spec.meant},
    )


def _to_socket(pipeline: Pipeline, spec: LabSpec, result: LabResult, progress: Progress | None) -> Arrived:
    """Replies pass gen's stack and are read from an ordinary UDP socket."""
    gen, traffic = pipeline.topology["gen"], Traffic(spec.traffic())
    with Receiver(gen, SOURCE_PORT) as receiver:
        before = pipeline.count()
        result.sent = traffic.send(gen, "gen0", progress=progress)
        expected = result.sent.sent if spec.comes_back else 0
        result.received = received = receiver.drain(expected, RECEIVE_DEADLINE_S, payload=traffic.payload)
        result.counted = dict(pipeline.counted_since(before))
        # The report counts from its call on; a full socket has dropped before that, while we were sending.
        return dataclasses.replace(Arrived.of(received), socket_full=receiver.drops)


def _to_sink(pipeline: Pipeline, spec: LabSpec, result: LabResult, progress: Progress | None) -> Arrived:
    """Replies are verified and dropped by an XDP program on gen's device, before its stack."""
    gen, plan = pipeline.topology["gen"], spec.traffic()
    with Sink(gen, "gen0", SinkSpec.of(plan)) as sink:
        before = pipeline.count()
        result.sent = send(plan, gen, "gen0", "xdp", progress=progress)
        if spec.comes_back:
            sink.wait(result.sent.sent)
        result.counted = dict(pipeline.counted_since(before))
        result.received = report = sink.report()
        return Arrived.of(report)


def _is_the_sinks(drop: Drop) -> bool:
    """What the sink took: the kernel counts it among its drops, for one of these reasons."""
    return (drop.interface, drop.kind) == ("gen0", "skb") and drop.reason in (DROPPED_BY_XDP, UNSAID)
