# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`python -m forwarder`, also called `xdplab forward`: options in, one forwarder out."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from xdp.pyxdp.errors import InputError, KernelError

from .config import blame, format_config, read_config
from .options import FIELDS, GROUPS, add_options, numbers
from .process import Descriptors
from .run import run, write_line
from .spec import ForwarderSpec

USAGE = """\
xdplab forward -i IF [--xskmap PIN] [--action ACTION] [OPTION…]
       xdplab forward --config FILE [OPTION…]"""

DESCRIPTION = """\
Takes packets from queues of an interface through AF_XDP, decides, and sends.

First an XDP program must be attached to the interface that redirects packets
into an XSKMAP (xdplab run brings one of its own). Give the forwarder that map,
by its pin or as an inherited descriptor: it binds a socket to each queue and
enters it into the queue's slot. Without a map it binds, and waits until
somebody else enters its sockets. `xdplab xskmap` shows who is in which slot,
`xdplab why` why no packet comes, `xdplab stats` what a forwarder does.

actions:
  drop      take the packet and forget it
  echo      swap MAC, IP addresses and UDP ports, send it back
            (all else: not matched, dropped)
  forward   send it out of --out, on the queue of the same number
  respond   answer ARP, neighbour solicitations, ping and UDP for our addresses
  host      give it back to the host's own stack, through the TAP --host-tap:
            a normal socket receives what XDP took away
  python    ask --python MODULE:FUNCTION once a batch:
            function(packets, frames) -> verdicts
            (NumPy views; 0 drop, 1 back, 2 out of --out, 3 not matched,
            4 to the host's stack)
  verdict   ask --verdict once a packet, at C speed:
            function(data, length, context) -> verdict, a numba.cfunc in Python
            or a symbol of a shared object
            (its header: -I"$(python -m forwarder.verdict)")
"""

EPILOG = """\
examples:
  xdplab forward -i eth1 --xskmap /sys/fs/bpf/xsks_map
      counts what comes to queue 0, and drops it
  xdplab forward -i eth1 -q 0,1 --cpu 2,3 --action echo --xskmap PIN
      two queues, a thread and a core each
  xdplab forward -i eth1 --out eth2 --action forward --xskmap PIN \\
                 --set-dst-mac 02:00:00:00:00:02 --user nobody
      from one interface to the other, as nobody once all is bound
  xdplab forward -i eth1 --python mymodule:decide --xskmap PIN --json-lines
      your function decides; each second an object for a program
  xdplab forward -i eth1 --rx-size 4096 --print-config >forward.yaml
  xdplab forward --config forward.yaml --duration 60
      options in a file: queue: [0, 1], need-wakeup: false, …

what it prints:
  on a terminal, a table each --interval (columns: xdplab stats --help);
  elsewhere or with --plain, a line each --interval
    AF_XDP RX: 10000 pkts (10000 pps) 600 KB (4.8 Mbit/s)
  and at the end, on SIGINT, SIGTERM or after --duration, one line of JSON:
  all counters, XDP_STATISTICS, where every frame is, what was granted;
  with --json-lines nothing but JSON (forwarder/lines.schema.json).

privileges: binding needs CAP_NET_RAW, entering a map CAP_BPF, busy polling
CAP_NET_ADMIN; root has them all. Once that is done every capability is given
up for good: sending, receiving and reporting need none.

exit code: 0 all well; 1 frames not conserved, or your function failed; 2 it
could not start (one line says why).
"""

STARTERS = "for whoever starts it"
_NOTES = {
    "memory and rings": "Sizes of rings are powers of two.",
    "busy polling": "For drivers with NAPI, from Linux 5.11 on.",
    "the process": "Done once all is bound; then every privilege is given up.",
    STARTERS: "Descriptors that the new process inherits; the lab starts its forwarders so.",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def _formatter(prog: str) -> argparse.HelpFormatter:
    # The width is given also because argparse would import much to learn it.
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=80)


def make_parser() -> argparse.ArgumentParser:
    """All options; those of the spec's fields leave nothing in the namespace unless they are given."""
    parser = _Parser(
        prog="xdplab forward",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_formatter,
        allow_abbrev=False,
        add_help=False,
    )
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title, _NOTES.get(title))
        add_options(group, options)
        if title in _MORE:
            _MORE[title](group)
    _add_descriptors(parser.add_argument_group(STARTERS, _NOTES[STARTERS]))
    group = parser.add_argument_group("options in a file")
    group.add_argument("--config", metavar="FILE", help="read this YAML file; options overrule it")
    group.add_argument("--print-config", action="store_true", help="write all options in force, and end")
    group.add_argument("-h", "--help", action="help", help="this text")
    return parser


def _more_sources(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    for binding, what in (("copy", "copy mode"), ("zero-copy", "zero-copy mode, or fail")):
        add(
            f"--{binding}",
            dest="binding",
            action="store_const",
            const=binding,
            default=argparse.SUPPRESS,
            help=f"{what}: --binding {binding}",
        )
    add(
        "--mode",
        choices=("auto", "native", "generic"),
        default="auto",
        help="how the XDP program is attached; generic can only be --copy",
    )


def _add_descriptors(group: argparse._ActionsContainer) -> None:
    for name, what in (
        ("xskmap", "enter this XSKMAP"),
        ("out-xskmap", "the same for --out, with --both-ways"),
        ("ready", 'write {"ready": true, …} or {"error": …} here'),
        ("report", "write the final JSON here too"),
        ("counters", "keep the counters in this memfd, live"),
    ):
        group.add_argument(f"--{name}-fd", type=int, metavar="N", help=what)
    group.add_argument(
        "--also-xskmap-fd",
        dest="also_xskmap_fds",
        type=numbers,
        default=(),
        metavar="N[,N]",
        help="the same as --xskmap-fd for each of --also, in order",
    )


# What belongs to one run or is a shorter way to say a field's value.
_MORE: dict[str, Callable[[argparse._ActionsContainer], None]] = {"where packets come from": _more_sources}


def _spec(options: argparse.Namespace) -> ForwarderSpec:
    settings = read_config(options.config) if options.config else {}
    given = {name: value for name, value in vars(options).items() if name in FIELDS}
    fields: dict[str, Any] = {name: setting.value for name, setting in settings.items()}
    fields |= {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if options.mode == "generic":
        if fields.get("binding") == "zero-copy":
            raise InputError("--mode generic has no zero-copy: leave --zero-copy out")
        fields["binding"] = "copy"
    for action in ("python", "verdict"):
        if fields.get(action):
            fields.setdefault("action", action)
    if fields.get("action") == "verdict" and not fields.get("verdict"):
        raise InputError("--action verdict needs --verdict MODULE:NAME or PATH.so:SYMBOL")
    if not fields.get("interface"):
        raise InputError("name the interface to receive on with --interface; see --help")
    try:
        return ForwarderSpec(**fields)
    except InputError as error:
        raise blame(error, settings, given) from None


def parse(argv: Sequence[str]) -> tuple[ForwarderSpec, Descriptors]:
    """Options to spec and descriptors; `ForwarderSpec.to_argv` is the way back.

    Raises:
        InputError: an option that cannot be.
    """
    options = make_parser().parse_args(argv)
    return _spec(options), _descriptors(options)


def _descriptors(options: argparse.Namespace) -> Descriptors:
    return Descriptors(
        options.xskmap_fd,
        options.ready_fd,
        options.report_fd,
        options.counters_fd,
        options.out_xskmap_fd,
        tuple(options.also_xskmap_fds),
    )


def _ready_fd(argv: Sequence[str]) -> int | None:
    """The ready descriptor even where the other options cannot be parsed: somebody waits on it."""
    for option, value in zip(argv, [*argv[1:], ""], strict=False):
        text = value if option == "--ready-fd" else option.removeprefix("--ready-fd=")
        if option.startswith("--ready-fd") and text.isdigit():
            return int(text)
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a forwarder; returns the exit code.

    Args:
        argv: options without the program's name; None for those of this process.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = make_parser().parse_args(argv)
        spec = _spec(options)
        if options.print_config:
            print(format_config(spec), end="")
            return 0
        return run(spec, _descriptors(options))
    except (InputError, KernelError) as error:
        print(f"xdplab: {error}", file=sys.stderr)
        _report_error(argv, str(error))
        return 2
    except Exception as error:  # noqa: BLE001 (the user's function; its traceback is what helps)
        import traceback  # rarely needed, and dear at start

        traceback.print_exc()
        _report_error(argv, f"{type(error).__name__}: {error}")
        return 1


def _report_error(argv: Sequence[str], message: str) -> None:
    with contextlib.suppress(OSError):  # a descriptor that is none: that is the message, or it is lost
        write_line(_ready_fd(argv), {"error": message})
