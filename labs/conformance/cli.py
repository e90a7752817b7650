# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab conformance`: does AF_XDP do here what its users rely on?"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs.conformance.mode import MODES, Mode, choose
from labs.harness.arguments import Parser
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from labs.conformance.case import Result
    from labs.conformance.site import Site

SCHEMA_VERSION = 1
DESCRIPTION = """\
Runs small cases of what AF_XDP must do, each in every mode of the socket in which
it makes a difference: native or generic XDP or zero-copy, need_wakeup on and off,
busy polling on and off. By default on veth pairs of its own; with --dev on any two
devices that hear each other. The result is a table, and
results/<run>/conformance.json.

--dev IF is where the AF_XDP sockets are bound and the XDP program is attached.
--peer IF is where traffic comes from and goes to; it needs no XDP. They may be the
ends of a cable, or two ports of one switch or hub; frames have the EtherType 0x88b5
(some IPv4/UDP to port 4242) and the devices' own addresses, and must meet queue 0
of --dev (ethtool -L IF combined 1). Cases with packets of 9,000 bytes set the MTU
of both, and set it back. Where both are on one machine with addresses, put each
into a namespace of its own, so that the stack has no other way between them.

--forwarder runs the cases of forwarders only, against a program of yours, in any
language. It must bind a socket to {dev} and {queue}, put it into the XSKMAP that
is pinned at {map}, and send every packet back out of the device; it is ready when
the kernel says that its socket is in the map. Without the option these cases run
with this project's own forwarder.
"""
EPILOG = """\
exit code: 0 nothing failed, 1 a case failed or none was run, 2 it could not run

examples:
  xdplab conformance                                 all of it
  xdplab conformance --list                          the cases, and what each proves
  xdplab conformance --mode 'native*' --case 'poll*' --case receive
  xdplab conformance --dev eth1 --peer eth2 --netns a --peer-netns b
  xdplab conformance --forwarder './echo {dev} {queue} {map}'
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser("xdplab conformance", DESCRIPTION, EPILOG)
    add = made.add_argument
    add("--list", action="store_true", help="name the cases and the modes, and run none")
    add("--case", action="append", default=[], metavar="PATTERN", help="only these; may be given again")
    add("--mode", action="append", default=[], metavar="PATTERN", help="only these; may be given again")
    add("--dev", metavar="IF", help="run on this device (needs --peer)")
    add("--peer", metavar="IF", help="the device at the other end of the wire")
    add("--netns", metavar="NS", help="namespace of --dev: name, path or process id (default: this one)")
    add("--peer-netns", metavar="NS", help="namespace of --peer (default: this one)")
    add("--forwarder", metavar="COMMAND", help="as above; {dev}, {queue} and {map} are filled in")
    add("--json", action="store_true", help="print conformance.json to stdout, the table to stderr")
    add("--results", type=Path, default=None, metavar="DIR", help="where results go (default ./results)")
    return made


def main(argv: list[str]) -> int:
    """Runs the cases; exit code 0 if none failed, 1 if one did or all were skipped."""
    options = parser().parse_args(argv)
    _check(options)
    # Here, so that --help and mistakes cost no import of NumPy and netlink.
    from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
    from labs.harness.console import console

    everything = {} if options.forwarder else dict(SOCKET_CASES)
    names = choose([*everything, *FORWARDER_CASES], options.case, "case")
    modes = [mode for mode in MODES if mode.name in choose([m.name for m in MODES], options.mode, "mode")]
    out = console(to_stderr=options.json)
    if options.list:
        _list(out, names, modes)
        return 0
    return _run(options, names, modes, out)


def _check(options: argparse.Namespace) -> None:
    if bool(options.dev) != bool(options.peer):
        raise InputError("--dev and --peer belong together: traffic must come from somewhere")
    if not options.dev and (options.netns or options.peer_netns):
        raise InputError("--netns and --peer-netns say where --dev and --peer are: give these too")
    if options.forwarder:
        from labs.conformance.forwarding import check_template

        check_template(options.forwarder)


def _list(out: Console, names: Sequence[str], modes: Sequence[Mode]) -> None:
    from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES

    width = max(map(len, names)) + 2
    proves = {name: one.proves for name, one in SOCKET_CASES.items()}
    proves |= {name: one.proves for name, one in FORWARDER_CASES.items()}
    out.print("\n".join(f"{name:<{width}}{proves[name]}" for name in names), markup=False, soft_wrap=True)
    out.print("\nmodes: " + ", ".join(mode.name for mode in modes), markup=False, soft_wrap=True)


def _run(options: argparse.Namespace, names: Sequence[str], modes: Sequence[Mode], out: Console) -> int:
    from labs.conformance import report
    from labs.conformance.bench import Bench
    from labs.conformance.given import check_wire, given_site
    from labs.conformance.runner import run_matrix
    from labs.conformance.site import own_site
    from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
    from labs.harness.requirements import why_not
    from labs.harness.results import ResultFolder, default_root
    from labs.harness.runs import new_run_id
    from labs.harness.signals import held_back

    if why_not():
        raise InputError(why_not())
    run, started = new_run_id(), datetime.now(timezone.utc)
    folder = ResultFolder("conformance", run, options.results or default_root())
    sockets = [SOCKET_CASES[name] for name in names if name in SOCKET_CASES]
    forwarders = [FORWARDER_CASES[name] for name in names if name in FORWARDER_CASES]
    total = sum(one.makes_sense_in(mode) for mode in modes for one in sockets)
    total += sum(one.makes_sense_in(mode) for mode in modes for one in forwarders)
    results: list[Result] = []
    try:
        with contextlib.ExitStack() as undo:
            if options.dev:
                site = given_site(options.dev, options.peer, options.netns, options.peer_netns)
            else:
                site = own_site(run)
            bench = undo.enter_context(Bench(undo.enter_context(site)))
            if options.dev:
                check_wire(bench, Mode(next((m.kind for m in modes if m.kind != "zerocopy"), "native")))
            tell = undo.enter_context(_progress(out, total))
            for result in run_matrix(bench, modes, sockets, forwarders, options.forwarder):
                results.append(result)
                tell(len(results), f"{result.mode} {result.case}")
            answer = _answer(run, started, site, modes, results, options.forwarder)
    except BaseException:
        with held_back():
            folder.discard()
        raise
    written = folder.write("conformance.json", answer)
    text = f"{report.table(results, modes)}\n\n{report.LEGEND}"
    folder.write_text("conformance.txt", text + "\n")
    totals = answer["totals"]
    told = [f"told by the cases\n{one}" if not at else one for at, one in enumerate(report.details(results))]
    lines = [text, *report.reasons(results), *told, "", *_verdict(totals), f"result      {written}"]
    out.print("\n".join(lines), markup=False, soft_wrap=True)
    if options.json:
        json.dump(answer, sys.stdout, indent=2)
        print()
    return 0 if answer["verdict"] == "pass" else 1


def _verdict(totals: dict[str, int]) -> list[str]:
    passed = not totals["fail"] and totals["pass"]
    why = "" if totals["pass"] else " (nothing could be run)"
    return [
        f"runs        {totals['pass']} passed, {totals['fail']} failed, {totals['skip']} skipped",
        f"verdict     {'PASS' if passed else 'FAIL'}{why}",
    ]


def _answer(
    run: str,
    started: datetime,
    site: Site,
    modes: Sequence[Mode],
    results: Sequence[Result],
    forwarder: str | None,
) -> dict[str, Any]:
    from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
    from labs.harness.environment import environment

    count = Counter(one.outcome for one in results)
    totals = {"pass": count["pass"], "fail": count["fail"], "skip": count["skip"]}
    ran = dict.fromkeys(one.case for one in results)
    proves = {name: one.proves for name, one in SOCKET_CASES.items()}
    proves |= {name: one.proves for name, one in FORWARDER_CASES.items()}
    return {
        "schema": SCHEMA_VERSION,
        "lab": "conformance",
        "run": run,
        "started": started.isoformat(timespec="seconds"),
        "environment": environment(),
        "site": site.to_dict(),
        "forwarder": forwarder,
        "modes": [mode.to_dict() for mode in modes],
        "cases": [{"name": name, "proves": proves[name]} for name in ran],
        "results": [one.to_dict() for one in results],
        "totals": totals,
        "verdict": "pass" if totals["pass"] and not totals["fail"] else "fail",
    }


@contextlib.contextmanager
def _progress(out: Console, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not out.is_terminal:
        yield lambda _done, _what: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, what: bar.update(task, completed=done, description=what)
