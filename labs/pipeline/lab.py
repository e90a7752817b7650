# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The main lab: UDP datagrams leave the stack through an XSKMAP, pass a forwarder, and come back."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from forwarder.spec import ForwarderSpec
from labs.harness.account import MISSED, account
from labs.harness.arrived import Arrived
from labs.harness.capture import Capture
from labs.harness.environment import environment
from labs.harness.ethtool import Ethtool
from labs.harness.ledger import Ledger
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.ping import PingReport, ping
from labs.harness.pipeline import Pipeline, PipelineSpec
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.results import SCHEMA_VERSION, ResultFolder
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import Traffic, TrafficPlan, TrafficReport
from labs.harness.verdict import frame_reasons
from xdp.attachment import Mode
from xdp.program import ProgramSpec
from xdp.pyxdp.errors import InputError
from xdp.watch_events import Drop
from xdp.xskmap_model import XskMap

RECEIVE_DEADLINE_S = 5.0
MAX_PACKETS = 10_000_000  # each number is looked for at the receiver, which takes memory
MAX_PINGS = 10_000
PAYLOAD_BYTES = (16, 1472)  # the stamp; MTU 1500 less the headers of IP and UDP
# What each action is meant to do with a datagram: where frames end, and whether they come back.
MEANT = {"echo": "receiver/received", "respond": "receiver/received", "drop": "forwarder/dropped"}


@dataclass(frozen=True)
class LabSpec:
    """What `xdplab run` was asked for.

    Attributes:
        packets: datagrams to send.
        rate_pps: datagrams a second; None for as fast as the sender goes.
        action: of the forwarder: "echo", "respond" or "drop".
        mode: how the XDP program is attached: "native", "generic" or "auto".
        port: destination port of the datagrams, and of the program's filter.
        payload_bytes: UDP payload of each, at least the 16 bytes of the stamp.
        object: the XDP program: one of the package's, or the path of another with a map `xsks_map`.
        pings: echo requests without and with the pipeline; 0 for none.
        pcap: keep the packets of both devices.
        keep: leave all of it standing.
    """

    packets: int = 10_000
    rate_pps: float | None = 10_000
    action: str = "echo"
    mode: Mode = "native"
    port: int = 4242
    payload_bytes: int = 18
    object: str = "redirect_udp"
    pings: int = 20
    pcap: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InputError(f"--port {self.port}: UDP ports are 1 to 65535")
        if self.action not in MEANT:
            raise InputError(f"--action {self.action}: this lab knows {', '.join(MEANT)}")
        for option, value, (least, most) in (
            ("--packets", self.packets, (0, MAX_PACKETS)),
            ("--payload", self.payload_bytes, PAYLOAD_BYTES),
            ("--pings", self.pings, (0, MAX_PINGS)),
        ):
            if not least <= value <= most:
                raise InputError(f"{option} {value}: give {least} to {most}")

    def pipeline(self) -> PipelineSpec:
        """The pipeline that it takes."""
        rodata = {"udp_port": self.port} if self.object == "redirect_udp" else {}
        return PipelineSpec(
            PAIR,
            ProgramSpec(self.object, rodata=rodata),
            self.mode,
            ForwarderSpec("dut0", action=self.action),
        )

    def traffic(self) -> TrafficPlan:
        """The datagrams."""
        packet = datagram(dport=self.port, payload=bytes(self.payload_bytes))
        return TrafficPlan(packet, count=self.packets, rate_pps=self.rate_pps, sequence=True)


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
    sent: TrafficReport | None = None
    received: ReceivedReport | None = None
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


def exchange(
    pipeline: Pipeline, spec: LabSpec, result: LabResult, progress: Callable[[int], None] | None = None
) -> None:
    """Sends, receives, and makes the ledger of it."""
    gen, dut = pipeline.topology["gen"], pipeline.topology["dut"]
    traffic = Traffic(spec.traffic())
    comes_back = MEANT[spec.action].startswith("receiver")
    with Receiver(gen, SOURCE_PORT) as receiver, Receiver(dut, spec.port) as host:
        before = pipeline.count()
        result.sent = traffic.send(gen, "gen0", progress=progress)
        expected = result.sent.sent if comes_back else 0
        result.received = receiver.drain(expected, RECEIVE_DEADLINE_S, payload=traffic.payload)
        result.counted = dict(pipeline.counted_since(before))
        result.unwatched = pipeline.unwatched
        result.kernel_drops = pipeline.drop_watch.drops() if pipeline.drop_watch else ()
        result.host_received = host.drain(0).count
        socket_full = receiver.drops
    result.timings_ns["traffic"] = result.sent.duration_ns
    result.ledger = account(
        result.sent.sent,
        result.counted,
        # The report counts from its call on; a full socket has dropped before that, while we were sending.
        dataclasses.replace(Arrived.of(result.received), socket_full=socket_full),
        pipeline.route,
        retried=result.sent.retries,
        delivered={MEANT[spec.action]},
    )


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
    if not result.received.in_order:
        reasons.append(f"{result.received.reordered} replies came out of order")
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
