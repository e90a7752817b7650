# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the main lab shows to people: topology, attachment, XSKMAP, hops, ping, verdict."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labs.harness.histogram import PERCENTILES
from labs.harness.ledger import Ledger
from labs.harness.pipeline import Pipeline
from labs.harness.sink_report import SinkReport
from labs.harness.traffic.units import time_text
from labs.pipeline.result import LabResult
from xdp.xskmap_table import table as xskmap_table

LABEL = 12  # columns of the labels at the left
DROPS_SHOWN = 5


def _line(label: str, text: str | Text) -> Table:
    """A label and its text, which is wrapped beside the label, not below it."""
    row = Table.grid(padding=0)
    row.add_column(width=LABEL, style="bold")
    row.add_column(overflow="fold")
    row.add_row(label, text)
    return row


def standing(pipeline: Pipeline, result: LabResult) -> RenderableType:
    """What stands before the traffic begins."""
    lines: list[RenderableType] = []
    for link in pipeline.topology.spec.links:
        ends = " — ".join(f"{end.node}/{end.name} {' '.join(end.addresses)}" for end in link.ends)
        lines.append(_line("topology", f"{ends}, MTU {link.mtu}, {link.queues} queue(s)"))
    there = pipeline.attachment
    how = f"{there.mode} mode, by {there.kind}, program {there.prog_id}"
    lines.append(_line("XDP", f"{pipeline.program.name} on {there.ifname}: {how}"))
    for socket in result.granted["sockets"]:
        lines.append(
            _line(
                "forwarder",
                f"{result.spec.action}, pid {pipeline.forwarder.pid if pipeline.forwarder else '-'}, "
                f"{socket['interface']} queue {socket['queue']}: {socket['mode']} mode, "
                f"need_wakeup {'on' if socket['need_wakeup'] else 'off'}",
            )
        )
    if result.xskmap is not None:
        lines += [Text(), xskmap_table([result.xskmap], only_occupied=True)]
    return Group(*lines)


def outcome(result: LabResult) -> RenderableType:
    """What happened: traffic, hops, ping, verdict."""
    lines: list[RenderableType] = []
    sent, received = result.sent, result.received
    if sent is not None:
        asked = f" of {sent.rate_asked_pps:,.0f} asked" if sent.rate_asked_pps else ""
        lines.append(
            _line(
                "sent",
                f"{sent.sent:,} datagrams in {sent.duration_ns / 1e9:.2f} s, {sent.rate_pps:,.0f} pps{asked}",
            )
        )
    if isinstance(received, SinkReport):
        lines += verified(received)
    elif received is not None and received.expected:
        order = "in order" if received.in_order else f"{received.reordered:,} out of order"
        damage = "payloads identical" if not received.corrupt else f"{received.corrupt:,} corrupt"
        lines.append(
            _line("received", f"{received.count:,} replies, {order}, {received.duplicates:,} twice, {damage}")
        )
    lines.append(_line("DUT's stack", f"{result.host_received:,} datagrams at its own socket"))
    if result.ledger is not None:
        lines += [Text(), hops(result.ledger), Text()]
        lines += [*kernel_drops(result), *verdicts(result)]
    if result.ping_without is not None:
        lines.append(_line("ping", f"without the pipeline  {result.ping_without}"))
    if result.ping_with is not None:
        lines.append(_line("", f"with the pipeline     {result.ping_with}"))
    built = [f"{part} {result.timings_ns[part] / 1e6:.0f}" for part in ("topology", "program", "forwarder")]
    lines.append(_line("ready", f"{' + '.join(built)} ms; gone in {result.timings_ns['close'] / 1e6:.0f} ms"))
    for reason in result.reasons:
        lines.append(_line("because", reason))
    verdict = Text("PASS", style="bold green") if result.passed else Text("FAIL", style="bold red")
    lines.append(_line("verdict", verdict))
    return Group(*lines)


def verified(found: SinkReport) -> list[RenderableType]:
    """What the sink in the kernel found."""
    total, latency = found.total, found.total.latency
    order = f"{total.reordered:,} out of order" if total.reordered else "in order"
    damage = f"{total.corrupt:,} corrupt" if total.corrupt else "undamaged"
    lines: list[RenderableType] = [
        _line("verified", f"{total.received:,} in the kernel, {order}, {total.duplicates:,} twice, {damage}")
    ]
    if latency.count:
        shown = ", ".join(f"p{p:g} {time_text(latency.percentile(p))}" for p in PERCENTILES)
        lines.append(_line("latency", f"{shown}, max {time_text(latency.max_ns)}, there and back"))
    return lines


def kernel_drops(result: LabResult) -> list[RenderableType]:
    """What the kernel said that it dropped, in the namespaces of the lab."""
    if result.unwatched:
        return [_line("kernel", f"its drops were not watched: {result.unwatched}")]
    if not result.kernel_drops:
        return [_line("kernel", "dropped nothing in these namespaces")]
    shown, more = result.kernel_drops[:DROPS_SHOWN], result.kernel_drops[DROPS_SHOWN:]
    lines: list[RenderableType] = []
    for drop in shown:
        why = f"{drop.reason} in {drop.place}" if drop.place else f"{drop.reason} ({drop.kind})"
        lines.append(
            _line(
                "" if lines else "kernel", f"{drop.namespace}/{drop.interface} dropped {drop.frames:,}: {why}"
            )
        )
    if more:
        lines.append(_line("", f"and {sum(drop.frames for drop in more):,} for {len(more)} other reasons"))
    return lines


def verdicts(result: LabResult) -> list[RenderableType]:
    """What fexit saw the program say; where it cannot, the table has who else saw it."""
    said = ", ".join(f"{count:,} {name}" for name, count in result.verdicts.items() if count)
    return [_line("verdicts", f"seen by fexit: {said or 'none'}")] if not result.unseen else []


def hops(ledger: Ledger) -> Table:
    """The ledger, a line a hop; fates that did not happen are left out."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("hop")
    table.add_column("entered", justify="right")
    table.add_column("ended here")
    table.add_column("went on", justify="right")
    table.add_column("unaccounted", justify="right")
    named = {one.fates[0]: f" ({', '.join(one.reasons)})" for one in ledger.causes if len(one.fates) == 1}
    before = ledger.sent
    for hop in ledger.hops:
        ended = ", ".join(
            f"{fate.count:,} {fate.name}{named.get(f'{hop.name}/{fate.name}', '')}"
            for fate in hop.fates
            if fate.count
        )
        gap = abs(before - hop.entered) + abs(hop.unaccounted)
        table.add_row(
            hop.name,
            f"{hop.entered:,}",
            ended,
            f"{hop.onward:,}",
            str(gap),
            style="bold red" if gap else None,
        )
        before = hop.onward
    return table
