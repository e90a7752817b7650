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
from .options import FIELDS, GROUPS, add_options
from .process import Descriptors
from .run import run, write_line
from .spec import ForwarderSpec

DESCRIPTION = """\
Takes packets from queues of one interface through AF_XDP, decides, and sends.

An XDP program on the interface must redirect packets into an XSKMAP; the
forwarder enters its sockets there, in the slot of each queue, if it is given
the map (--xskmap or --xskmap-fd). With neither, no map is changed, and no
packet comes until somebody else enters the socket.

actions:
  drop      take the packet and forget it
  echo      swap MAC, IP addresses and UDP ports, send it back
            (all else: not matched, dropped)
  forward   send it out of --out, on the queue of the same number
  respond   answer ARP, neighbour solicitations, ping and UDP for our addresses
  python    ask --python MODULE:FUNCTION once a batch:
            function(packets, frames) -> verdicts
            (NumPy views; 0 drop, 1 back, 2 out of --out, 3 not matched)
  verdict   ask --verdict once a packet, at C speed: function(data, len, context)
            -> verdict, a numba.cfunc in Python or a symbol of a shared object
            (its header: -I"$(python -m forwarder.verdict)")
"""

EPILOG = """\
examples:
  python -m forwarder -i dut0 --action echo --xskmap /sys/fs/bpf/xsks_map
  python -m forwarder -i dut0 --action forward --out dut1 \\
                      --set-dst-mac 02:00:00:00:00:02 --cpu 1
  python -m forwarder -i dut0 -q 0,1 --python mymodule:decide --check-owners

Each --interval a line like this goes to stdout:
  AF_XDP RX: 10000 pkts (10000 pps) 600 KB (4.8 Mbit/s)
SIGINT or SIGTERM ends it; the last line of stdout is a JSON report: counters,
XDP_STATISTICS, where every frame is, what was granted.
Exit code 0: all well; 1: frames not conserved, or the Python function failed;
2: it could not start (one line says why).
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def make_parser() -> argparse.ArgumentParser:
    """All options; those of the spec's fields leave nothing in the namespace unless they are given."""
    parser = _Parser(
        prog="xdplab forward",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read options from this YAML file; options overrule it"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="write all options as such a file, and end"
    )
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        add_options(group, options)
        if title in _MORE:
            _MORE[title](group)
    return parser


def _more_sources(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--xskmap-fd", type=int, metavar="N", help="enter the XSKMAP of this inherited descriptor")
    add("--out-xskmap-fd", type=int, metavar="N", help="the same for --out, with --both-ways")
    for binding, what in (("copy", "ask for copy mode"), ("zero-copy", "ask for zero-copy mode, or fail")):
        add(
            f"--{binding}",
            dest="binding",
            action="store_const",
            const=binding,
            default=argparse.SUPPRESS,
            help=f"{what}; the same as --binding {binding}",
        )
    add(
        "--mode",
        choices=("auto", "native", "generic"),
        default="auto",
        help="how the XDP program is attached; generic can only be --copy",
    )


def _more_reports(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--ready-fd", type=int, metavar="N", help='write {"ready": true, …} or {"error": …} here')
    add("--report-fd", type=int, metavar="N", help="write the final JSON here too")
    add("--counters-fd", type=int, metavar="N", help="keep the counters in this memfd, live")


# What belongs to one run or is a shorter way to say a field's value.
_MORE: dict[str, Callable[[argparse._ActionsContainer], None]] = {
    "where packets come from": _more_sources,
    "running and reporting": _more_reports,
}


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
