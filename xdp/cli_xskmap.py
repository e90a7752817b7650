# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command `xdplab xskmap`: which socket is in which slot, of any XSKMAP on the system."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import xskmap_find as find
from .pyxdp.errors import InputError, KernelError
from .xskmap import METHODS, XskMap, read_xskmap

DESCRIPTION = """\
Shows what XSKMAPs really hold, of any process on the system: each slot's AF_XDP
socket with device, queue, network namespace, mode, owner, the levels of its
rings, its UMEM and what it lost. `bpftool map dump` cannot tell: the kernel
answers no lookup from user space."""

EPILOG = """\
examples:
  xdplab xskmap                            all XSKMAPs of the system
  xdplab xskmap --dev eth1                 those behind the XDP program on eth1
  xdplab xskmap --dev dut0 --netns lab     in a namespace (or a pid's)
  xdplab xskmap --id 17 --slots occupied   one map, without its empty slots
  xdplab xskmap --dev eth1 --watch 0.5     redrawn twice a second, until Ctrl-C
  xdplab xskmap --json | jq '.maps[].slots[].socket.owners[]?.pid'

reading the table:
  rings   level/size. rx: received, not yet read. tx: not yet sent.
          fill: given for reception. compl: sent, not yet taken back.
          "wakeup": the kernel waits to be woken by a system call.
  pool    frames that the kernel took from the fill ring and has not delivered.
  losses  RX ring full: the process reads too slowly.
          fill ring empty: it gives back too few frames.
          RX dropped: for want of a frame (counted as fill ring empty too),
          or a packet larger than a frame.

keys of --json:
  time                                  of the reading, seconds since 1970
  maps[]  id name max_entries occupied method note programs[]{id name} slots[]
    method is "btf", or "probe" where only occupancy could be read
    (note says why; socket is null then)
    slots[]  index occupied socket
      socket  inode state queue ifindex device netns{inode cookie name}
              zero_copy multi_buffer uses_need_wakeup
              rx tx fill completion
                {size producer consumer unpublished need_wakeup level}
              pool_free pool_users
              umem{id size chunk_size headroom chunks users unaligned}
              statistics{rx_dropped rx_ring_full rx_invalid_descs
                         rx_fill_ring_empty_descs tx_invalid_descs
                         tx_ring_empty_descs}
              owners[]{pid name command} entries[]{map_id slot}
  null: the running kernel has no such member, or the socket not yet.
  With --watch: one object a line.

exit code: 0, or 2 with one line that says what is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"xdplab: {message}; see xdplab xskmap --help\n")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.05 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no interval; give seconds from 0.05 to 86400")
    return seconds


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no id; ids are positive numbers")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options to a parser."""
    which = parser.add_argument_group("which maps").add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all XSKMAPs of the system (the default)")
    which.add_argument("--id", type=_number, metavar="N", help="the map with this id")
    which.add_argument("--dev", metavar="IF", help="those behind the XDP program attached to this device")
    which.add_argument("--prog", type=_number, metavar="N", help="those that this program uses")
    which.add_argument("--pin", metavar="PATH", help="the map, or the maps of the program, pinned here")
    parser.add_argument("--netns", metavar="NAME|PID", help="the network namespace that --dev is in")
    parser.add_argument("--slots", choices=("all", "occupied"), default="all", help="default: all")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--watch", nargs="?", type=_seconds, const=1.0, metavar="SECONDS", help="again and again (default: 1)"
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="btf: all there is to know; probe: occupancy only, needs no BTF; auto: the best that works",
    )


def run(args: argparse.Namespace) -> int:
    """Does what the arguments say; gives the exit code.

    Raises:
        InputError: what was asked for does not exist, or not root.
        KernelError: the kernel refused.
    """
    if args.netns and not args.dev:
        raise InputError("--netns says where the device of --dev is; give --dev too")
    if args.watch is None:
        _print(args, _read(args))
        return 0
    return _watch(args)


def main(argv: Sequence[str] | None = None) -> int:
    """The command as a whole; gives the exit code."""
    parser = _Parser(
        prog="xdplab xskmap",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return run(args)
    except (InputError, KernelError) as error:
        print(f"xdplab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _read(args: argparse.Namespace) -> list[XskMap]:
    if args.id is not None:
        ids = [args.id]
    elif args.dev is not None:
        ids = find.xskmaps_of_device(args.dev, args.netns)
    elif args.prog is not None:
        ids = find.xskmaps_of_program(args.prog)
    elif args.pin is not None:
        ids = find.xskmaps_of_pin(args.pin)
    else:
        return _read_those_left(args)
    return [read_xskmap(map_id=number, method=args.method) for number in ids]


def _read_those_left(args: argparse.Namespace) -> list[XskMap]:
    found = []
    for number in find.all_xskmaps():
        try:
            found.append(read_xskmap(map_id=number, method=args.method))
        except InputError:
            if number in find.all_xskmaps():
                raise
    return found


def _json(args: argparse.Namespace, xskmaps: list[XskMap]) -> str:
    only = args.slots == "occupied"
    found = {"time": time.time(), "maps": [xskmap.as_dict(only_occupied=only) for xskmap in xskmaps]}
    return json.dumps(found, indent=None if args.watch else 2)


def _print(args: argparse.Namespace, xskmaps: list[XskMap]) -> None:
    if args.json:
        print(_json(args, xskmaps), flush=True)
        return
    from rich.console import Console

    from .xskmap_table import table

    Console().print(table(xskmaps, only_occupied=args.slots == "occupied"))


def _watch(args: argparse.Namespace) -> int:
    """Reads anew at each tick and holds nothing between: a watch keeps no map alive."""
    try:
        shown = _read(args)
        if args.json or not sys.stdout.isatty():
            return _repeat(args, shown, lambda xskmaps: _print(args, xskmaps))
        from rich.live import Live

        from .xskmap_table import table

        try:
            with Live(screen=True, auto_refresh=False) as live:

                def draw(xskmaps: list[XskMap]) -> None:
                    nonlocal shown
                    shown = xskmaps
                    live.update(table(xskmaps, only_occupied=args.slots == "occupied"), refresh=True)

                return _repeat(args, shown, draw)
        finally:
            _print(args, shown)  # the screen is restored: leave the last reading to be read on
    except KeyboardInterrupt:
        return 0


def _repeat(args: argparse.Namespace, first: list[XskMap], show: Callable[[list[XskMap]], None]) -> int:
    xskmaps = first
    due = time.monotonic()
    while True:
        show(xskmaps)
        due = max(due + args.watch, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        try:
            xskmaps = _read(args)
        except InputError as error:  # it was there at the first reading: it ended, and so does the watch
            print(f"xdplab: {error}", file=sys.stderr)
            return 0


if __name__ == "__main__":
    sys.exit(main())
