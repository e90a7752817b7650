# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`python -m forwarder`, also called `xdplab forward`: options in, one forwarder out."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from xdp.pyxdp.errors import InputError, KernelError

from .process import Descriptors, run, write_line
from .spec import ACTIONS, ForwarderSpec

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


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, nor a list like 0,1") from None


def _names(text: str) -> list[str]:
    return text.split(",")


def make_parser() -> argparse.ArgumentParser:
    """The options, with the spec's own defaults."""
    spec = {name: field.default for name, field in ForwarderSpec.__dataclass_fields__.items()}
    parser = _Parser(
        prog="xdplab forward",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-i", "--interface", required=True, metavar="IF", help="receive on this interface")
    add(
        "-q",
        "--queue",
        dest="queues",
        type=_numbers,
        action="extend",
        metavar="N[,N]",
        help="its queues, a thread each (default 0); may be repeated",
    )
    add("--action", choices=ACTIONS, help="what to do with packets (default drop)")
    add("--python", default="", metavar="MODULE:FUNCTION", help="the function; makes the action python")
    add("--out", default="", metavar="IF", help="the other interface")
    add("--set-src-mac", default="", metavar="MAC", help="forward: write this source address")
    add("--set-dst-mac", default="", metavar="MAC", help="forward: write this destination address")
    add("--respond-mac", default="", metavar="MAC", help="respond: as this address (default the interface's)")
    add(
        "--respond-ip",
        type=_names,
        action="extend",
        metavar="IP[,IP]",
        help="respond: for these addresses (default the interface's)",
    )

    group = parser.add_argument_group("where packets come from")
    add = group.add_argument
    add("--xskmap", default="", metavar="PIN", help="enter this pinned XSKMAP")
    add("--xskmap-fd", type=int, metavar="N", help="enter the XSKMAP of this inherited descriptor")
    add(
        "--mode",
        choices=("auto", "native", "generic"),
        default="auto",
        help="how the XDP program is attached; generic can only be --copy",
    )
    binding = group.add_mutually_exclusive_group()
    binding.add_argument("--copy", action="store_true", help="ask for copy mode")
    binding.add_argument("--zero-copy", action="store_true", help="ask for zero-copy mode, or fail")

    group = parser.add_argument_group("memory and rings")
    add = group.add_argument
    for name, what in (
        ("batch", "most packets moved at once"),
        ("frames", "frames in each queue's UMEM"),
        ("frame_size", "bytes a frame, a power of two"),
        ("headroom", "free bytes in front of each packet, beyond XDP's 256"),
        ("rx_size", "entries of the RX ring"),
        ("tx_size", "entries of the TX ring"),
        ("fill_size", "entries of the fill ring"),
        ("completion_size", "entries of the completion ring"),
    ):
        option = "--" + name.replace("_", "-")
        add(option, type=int, default=spec[name], metavar="N", help=f"{what} (default {spec[name]})")
    add("--no-need-wakeup", action="store_true", help="wake the kernel always, not only when it asks")
    add("--hugepages", action="store_true", help="UMEM on 2 MiB pages (reserve them first)")
    add(
        "--cpu",
        dest="cpus",
        type=_numbers,
        action="extend",
        metavar="N[,N]",
        help="pin each queue's thread, in order",
    )
    add("--check-owners", action="store_true", help="check each frame's one owner at each step (slower)")

    group = parser.add_argument_group("running and reporting")
    add = group.add_argument
    add("--interval", type=float, default=spec["interval"], metavar="S", help="seconds a line; 0 for none")
    add("--duration", type=float, default=0.0, metavar="S", help="end after this time (default: a signal)")
    add("--ready-fd", type=int, metavar="N", help='write {"ready": true, …} or {"error": …} here')
    add("--report-fd", type=int, metavar="N", help="write the final JSON here too")
    add("--counters-fd", type=int, metavar="N", help="keep the counters in this memfd, live")
    add(
        "--parent-death-signal",
        action="store_true",
        help="die (SIGKILL) with the thread of the parent that started us",
    )

    group = parser.add_argument_group("faults, for tests")
    add = group.add_argument
    add("--pause-receive", action="store_true", help="bind, but never take a packet off the RX ring")
    add("--no-fill", action="store_true", help="bind, but never give the kernel a frame to receive into")
    return parser


def _spec(options: argparse.Namespace) -> ForwarderSpec:
    values = vars(options)
    binding = "zero-copy" if options.zero_copy else "copy" if options.copy else "auto"
    if options.mode == "generic":
        if options.zero_copy:
            raise InputError("--mode generic has no zero-copy: leave --zero-copy out")
        binding = "copy"
    action = options.action or ("python" if options.python else "drop")
    # Most options are called as their fields.
    fields = {name: values[name] for name in ForwarderSpec.__dataclass_fields__ if name in values}
    fields |= {
        "queues": tuple(options.queues or (0,)),
        "cpus": tuple(options.cpus or ()),
        "respond_ip": tuple(options.respond_ip or ()),
        "action": action,
        "binding": binding,
        "need_wakeup": not options.no_need_wakeup,
    }
    return ForwarderSpec(**fields)


def parse(argv: Sequence[str]) -> tuple[ForwarderSpec, Descriptors]:
    """Options to spec and descriptors; `ForwarderSpec.to_argv` is the way back.

    Raises:
        InputError: an option that cannot be.
    """
    options = make_parser().parse_args(argv)
    descriptors = Descriptors(options.xskmap_fd, options.ready_fd, options.report_fd, options.counters_fd)
    return _spec(options), descriptors


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
        return run(*parse(argv))
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
