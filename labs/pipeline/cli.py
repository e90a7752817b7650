# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab run pipeline`: options in, lab, report, result file, exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from rich.console import Console

from labs.harness.arguments import Parser, whole
from labs.harness.cleanup import clean_up
from labs.harness.console import console
from labs.harness.picture import svg
from labs.harness.results import ResultFolder, default_root
from labs.harness.runs import namespace_name, new_run_id
from labs.harness.signals import held_back
from labs.harness.topology import PAIR
from labs.pipeline import report
from labs.pipeline.lab import run_lab
from labs.pipeline.result import LabResult
from labs.pipeline.spec import ENGINES, MAX_PINGS, MAX_VERIFIED, MEANT, PAYLOAD_BYTES, LabSpec
from xdp.attachment import Mode

DESCRIPTION = """\
Sends UDP datagrams from namespace gen to namespace dut. An XDP program on dut0
redirects them through an XSKMAP to a forwarder in user space, which sends them
back. Each hop is counted; the ledger says where every frame ended. The result
is written to results/<run>/run.json, and results/latest points to it.
"""
EPILOG = """\
exit code: 0 PASS, 1 FAIL, 2 it could not run, 130 Ctrl-C, 143 SIGTERM

examples:
  xdplab run                                   10,000 datagrams, 10,000 a second
  xdplab run --packets 100000 --rate max       as fast as the sender goes
  xdplab run --engine xdp --packets 5000000 --rate 200000   millions, made and verified in the kernel
  xdplab run --action drop --mode generic      another action, another XDP mode
  xdplab run --keep                            leave it for a look around
  xdplab run --json | jq .ledger.unaccounted   for programs
"""


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.1 <= rate <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give 0.1 to 1e9 datagrams a second, or max")
    return rate


def parser() -> argparse.ArgumentParser:
    """The options, with the lab's own defaults."""
    made = Parser("xdplab run", DESCRIPTION, EPILOG)
    add = made.add_argument
    packets = whole(0, MAX_VERIFIED)
    add(
        "--packets",
        type=packets,
        default=LabSpec.packets,
        metavar="N",
        help="datagrams to send (default 10000)",
    )
    add(
        "--rate",
        type=_rate,
        default=LabSpec.rate_pps,
        metavar="R",
        help="datagrams a second, or max (default 10000)",
    )
    add(
        "--engine",
        choices=ENGINES,
        default=LabSpec.engine,
        help="scapy: verified by a UDP socket (default); xdp: made and verified in the kernel",
    )
    add(
        "--payload",
        type=whole(*PAYLOAD_BYTES),
        default=LabSpec.payload_bytes,
        metavar="N",
        help="UDP payload bytes (default 18)",
    )
    add(
        "--port",
        type=whole(1, 65535),
        default=LabSpec.port,
        metavar="N",
        help="destination port (default 4242)",
    )
    add("--action", choices=sorted(MEANT), default=LabSpec.action, help="of the forwarder (default echo)")
    add("--mode", choices=get_args(Mode), default=LabSpec.mode, help="XDP mode (default native)")
    add(
        "--object",
        default=LabSpec.object,
        metavar="NAME|FILE.o",
        help="XDP program: one of ours, or your object file with an XSKMAP xsks_map (default redirect_udp)",
    )
    add(
        "--pings",
        type=whole(0, MAX_PINGS),
        default=LabSpec.pings,
        metavar="N",
        help="echo requests before and after (default 20)",
    )
    add(
        "--pcap",
        action="store_true",
        help="keep packets: gen0.pcap, and dut0.pcap with what XDP lets through",
    )
    add("--keep", action="store_true", help="leave namespaces, program and forwarder standing")
    add("--json", action="store_true", help="print run.json to stdout, the report to stderr")
    add("--results", type=Path, default=None, metavar="DIR", help="where results go (default ./results)")
    return made


def main(argv: list[str]) -> int:
    """Runs the lab; exit code 0 for PASS, 1 for FAIL."""
    options = parser().parse_args(argv)
    spec = LabSpec(
        packets=options.packets,
        rate_pps=options.rate,
        action=options.action,
        mode=options.mode,
        port=options.port,
        payload_bytes=options.payload,
        object=options.object,
        pings=options.pings,
        pcap=options.pcap,
        keep=options.keep,
        engine=options.engine,
    )
    run = new_run_id()
    out = console(to_stderr=options.json)
    folder = ResultFolder("pipeline", run, options.results or default_root())
    try:
        with _progress(out, spec.packets) as progress:
            result = run_lab(
                spec,
                run,
                folder=folder,
                progress=progress,
                standing=lambda pipeline, so_far: out.print(report.standing(pipeline, so_far), ""),
            )
    except BaseException:
        with held_back():
            folder.discard()
            if spec.keep:  # what was pinned or outlives us is kept for those runs only that came to their end
                clean_up(everything=True, run=run)
        raise
    if spec.keep and result.interrupted:
        with held_back():
            clean_up(everything=True, run=run)
    data = result.to_dict()
    if result.ledger is not None:
        title = f"Where {result.ledger.sent:,} frames went · {spec.action}, run {run}"
        folder.write_text("ledger.svg", svg(result.ledger, title))
        folder.write_text("ledger.txt", result.ledger.table() + "\n")
    written = folder.write("run.json", data)
    out.print(report.outcome(result))
    out.print(f"{'result':<{report.LABEL}}{written}", soft_wrap=True)
    if spec.keep and not result.interrupted:
        out.print("\n".join(how_to_enter(result)), soft_wrap=True, markup=False)
    if options.json:
        json.dump(data, sys.stdout, indent=2)
        print()
    if result.interrupted:
        raise KeyboardInterrupt
    return 0 if result.passed else 1


def how_to_enter(result: LabResult) -> list[str]:
    """The commands for a look around a kept lab."""
    gen, dut = namespace_name(result.run, "gen"), namespace_name(result.run, "dut")
    talk = f"exec 3<>/dev/udp/{PAIR.end('dut0').ip}/{result.spec.port}; echo hello >&3; head -n1 <&3"
    return [
        "",
        "The lab still stands: program attached, forwarder running. A look around:",
        f"  ip netns exec {gen} bash",
        f"  ip netns exec {gen} timeout 2 bash -c '{talk}'",
        f"  xdplab xskmap --dev dut0 --netns {dut}",
        f"  ip netns exec {dut} ethtool -S dut0",
        "Remove it:",
        f"  xdplab cleanup --run {result.run}",
    ]


@contextlib.contextmanager
def _progress(out: Console, total: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not out.is_terminal or not total:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("sending", total=total)
        yield lambda sent: bar.update(task, completed=sent)
