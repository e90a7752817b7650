# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab stats`: what running forwarders do, asked over their Unix sockets."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from forwarder import snapshot
from labs.harness.arguments import Parser, whole
from labs.harness.forwarders import Address, ask, running
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

DESCRIPTION = """\
Shows what running forwarders (`xdplab forward`) receive, send, drop and lose, how
full their rings are, and how many packets each wake-up of the kernel sends. It
finds them in every network namespace; without root only one's own, in this one."""

EPILOG = """\
reading the table:
  rx, tx     packets and bits a second, without FCS
  drop       packets that the action dropped, a second
  lost       packets that the kernel could not deliver: RX ring full, no frame
  kicks      system calls that wake the kernel, a second
  /kick      packets sent by each of those calls
  rx … compl entries in each ring now: received and not yet read, to be sent,
             given for reception, sent and not yet taken back

examples:
  xdplab stats                        all of them, over one second
  xdplab stats --pid 4711 --watch     one, redrawn each second, until Ctrl-C
  xdplab stats --json | jq '.forwarders[].total.rx_pps'
  xdplab stats --socket /run/fwd.sock one that was given --stats-socket

--json prints {"forwarders": […]}, with --watch one such object a line; each
forwarder is an object of type "interval", see forwarder/lines.schema.json, with
"netns": the inode of its network namespace, 0 for this one.
A socket can be asked without xdplab too: connect, read one JSON object.

exit code: 0; 2 if the forwarder that was asked for does not answer"""


def parser() -> Parser:
    """The options of `xdplab stats`."""
    made = Parser("xdplab stats", DESCRIPTION, EPILOG)
    which = made.add_mutually_exclusive_group()
    which.add_argument("--pid", type=whole(1, 2**22), help="only the forwarder with this process id")
    which.add_argument("--socket", metavar="PATH", help="only the one that answers at this path")
    made.add_argument(
        "--over", type=_seconds, default=1.0, metavar="S", help="seconds that rates are taken over; default 1"
    )
    made.add_argument("--watch", action="store_true", help="again and again, each --over seconds")
    made.add_argument("--json", action="store_true", help="for programs")
    return made


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.05 <= float(text) <= 86400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} does not fit: give seconds, 0.05 to 86400")


def main(argv: list[str]) -> int:
    """Asks and shows; see the epilogue for the exit code."""
    options = parser().parse_args(argv)
    with contextlib.suppress(KeyboardInterrupt):
        found = readings(options.pid, options.socket, options.over, forever=options.watch)
        if options.json:
            for intervals in found:
                print(json.dumps({"forwarders": intervals}, indent=None if options.watch else 2), flush=True)
        elif options.watch and sys.stdout.isatty():
            _live(found)
        else:
            from labs.harness.console import console

            for intervals in found:
                console().print(tables(intervals))
    return 0


def readings(
    pid: int | None, socket: str | None, over_s: float, *, forever: bool
) -> Iterator[list[dict[str, Any]]]:
    """The intervals of all forwarders asked for, again and again if `forever`; new ones join, ended ones go.

    Raises:
        InputError: the one that is asked for does not answer, at the beginning.
    """
    before = _ask(pid, socket)
    if (pid or socket) and not before:
        raise InputError(f"no forwarder with pid {pid} answers: xdplab stats lists those that do")
    due = time.monotonic()
    while True:
        due = max(due + over_s, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        try:
            after = _ask(pid, socket)
        except InputError:  # it ended
            return
        yield [
            {**snapshot.interval(before[address], now), "netns": now["netns"]}
            for address, now in after.items()
            if address in before and before[address]["monotonic_ns"] < now["monotonic_ns"]
        ]
        before = after
        if not forever or ((pid or socket) and not after):
            return


def _ask(pid: int | None, socket: str | None) -> dict[Address, dict[str, Any]]:
    if socket:
        address = Address(socket)
        return {address: address.read()}
    answers = ask(running())
    return {key: answer for key, answer in answers.items() if pid is None or answer["pid"] == pid}


def tables(intervals: list[dict[str, Any]]) -> RenderableType:
    """A table for each forwarder."""
    from rich.console import Group
    from rich.text import Text

    from forwarder.table import table

    if not intervals:
        return Text("no forwarder answers: none is running here, or it runs as somebody else (sudo)")
    return Group(*(table(interval) for interval in intervals))


def _live(found: Iterator[list[dict[str, Any]]]) -> None:
    from rich.live import Live

    from labs.harness.console import console

    last: list[dict[str, Any]] = []
    try:
        with Live(console=console(), screen=True, auto_refresh=False) as live:
            for last in found:
                live.update(tables(last), refresh=True)
    finally:
        console().print(tables(last))  # the screen is restored: leave the last reading to be read on
