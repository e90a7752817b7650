# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The main lab: UDP datagrams leave the stack through an XSKMAP, pass a forwarder, and come back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from labs.harness.capture import Capture
from labs.harness.ethtool import Ethtool
from labs.harness.ping import ping
from labs.harness.pipeline import Pipeline
from labs.harness.results import ResultFolder
from labs.harness.sink_report import SinkReport
from labs.harness.topology import PAIR, Topology
from labs.harness.verdict import frame_reasons
from labs.pipeline.exchange import exchange
from labs.pipeline.result import LabResult
from labs.pipeline.spec import LabSpec


def run_lab(
    spec: LabSpec,
    run: str,
    *,
    folder: ResultFolder | None = None,
    progress: Callable[[int], None] | None = None,
    standing: Callable[[Pipeline, LabResult], None] | None = None,
) -> LabResult:
    """Runs the lab and judges it.

    Args:
        spec: what to do.
        run: the run's id.
        folder: where packets are kept if that was asked for.
        progress: called with the count sent so far.
        standing: called when the pipeline stands, before the traffic.

    Raises:
        InputError, KernelError: the lab could not be built; nothing is left.
    """
    result = LabResult(spec, run, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    gateway = PAIR.end("dut0").ip
    if spec.pings:
        with Topology.build(PAIR, run=run) as bare:
            result.ping_without = ping(bare["gen"], gateway, run=run, count=spec.pings)
    pipeline = Pipeline.build(spec.pipeline(), run=run, keep=spec.keep)
    with pipeline, contextlib.ExitStack() as undo:
        result.pipeline = pipeline.spec.to_dict()
        result.granted = granted(pipeline)
        result.xskmap = pipeline.xskmap()
        if standing:
            standing(pipeline, result)
        captures = {}
        if spec.pcap:
            for name in ("gen0", "dut0"):
                captures[name] = undo.enter_context(Capture(pipeline.topology.namespace_of(name), name))
        exchange(pipeline, spec, result, progress)
        for name, capture in captures.items():
            if folder is not None:
                capture.write(folder.path / f"{name}.pcap")
        if spec.pings and not result.interrupted:
            result.ping_with = ping(pipeline.topology["gen"], gateway, run=run, count=spec.pings)
        if pipeline.forwarder is not None and not spec.keep:
            result.forwarder = pipeline.forwarder.stop()
    result.timings_ns |= pipeline.timings_ns
    judge(result)
    return result


def granted(pipeline: Pipeline) -> dict[str, Any]:
    """What the kernel granted: the attachment, the sockets, the features of each device."""
    devices = {}
    for end in pipeline.topology.spec.ends:
        with Ethtool(pipeline.topology[end.node]) as ethtool:
            devices[end.name] = ethtool.features(end.name)
    return {
        "attachment": pipeline.attachment.to_dict(),
        "sockets": pipeline.forwarder.sockets if pipeline.forwarder else [],
        "devices": devices,
    }


def judge(result: LabResult) -> None:
    """Fills the reasons for which the run fails; none for a pass."""
    spec, reasons = result.spec, result.reasons
    assert result.sent is not None
    assert result.received is not None
    assert result.ledger is not None
    if result.sent.interrupted:
        reasons.append(f"interrupted after {result.sent.sent} of {result.sent.asked} datagrams")
    elif result.sent.sent != spec.packets:
        reasons.append(f"{result.sent.sent} of {spec.packets} datagrams were sent")
    reasons += [str(found) for found in result.ledger.breaks]
    reasons += [f"{path}: {count} frames" for path, (_, count) in result.ledger.surprises.items()]
    late = (
        result.received.total.reordered
        if isinstance(result.received, SinkReport)
        else result.received.reordered
    )
    if late:
        reasons.append(f"{late} replies came out of order")
    if result.host_received:
        reasons.append(
            f"the DUT's own socket received {result.host_received} datagrams; the program should take all"
        )
    if result.xskmap is not None and not result.xskmap.occupied:
        reasons.append("the XSKMAP was empty: no socket to redirect to")
    for name, answered in (("without", result.ping_without), ("with", result.ping_with)):
        if answered is not None and answered.received != answered.sent:
            reasons.append(f"ping {name} the pipeline: {answered}")
    reasons += frame_reasons(result.forwarder, result.received)
