# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command `xdplab why`: names the cause of "zero packets", with the evidence and the remedy."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding
from labs.harness.why.rules import diagnose
from xdp.pyxdp.errors import InputError

WIDTH = 100
DESCRIPTION = """\
Says in a sentence why an AF_XDP program sees no packets, what shows it, and what to do. Only the kernel is
asked: the program may be anybody's, in any language. Traffic must be flowing while it looks."""

EPILOG = """\
examples:
  xdplab why                           every device with an XSKMAP program or an AF_XDP socket
  xdplab why --dev eth1                the device that packets should come in by
  xdplab why --dev dut0 --netns lab    the same in a namespace of `ip netns` (or give a process id)
  xdplab why --pid 4242 --seconds 5    the devices that this process receives by
  xdplab why --id 17 --want native     the devices behind XSKMAP 17; generic mode counts as wrong
  xdplab why --run results/latest      a finished run of this harness, from its run.json
  xdplab why --dev eth1 --json | jq -r '.diagnoses[].name'

causes, in the order of a packet's way; the first that is borne out is named:
  link_down peer_down                the device, its peer, or a device to send by is down
  attached_elsewhere not_attached    the program is on another device or namespace; on none
  generic_mode                       generic, where --want native was asked for
  peer_without_napi                  XDP sends into a veth whose end has neither XDP nor GRO
  other_program map_empty            another XDP program is there; nobody is in the XSKMAP
  socket_dead                        the slot's socket is bound to nothing (any more)
  mtu                                longer than the device's MTU: dropped before XDP
  completion_full tx_not_kicked      sending is stuck: completions not taken, kernel not woken
  nothing_sent                       no packet arrives at all
  vlan_tag not_matched wrong_queue   the program does not redirect; the socket has another queue
  super_frames frame_too_long        too long for a frame of the UMEM: GSO or GRO; or simply too long
  rx_ring_full                       the process reads too slowly, or not at all
  fill_not_kicked umem_exhausted     zero-copy: kernel not woken; frames leaked: who holds them
  fill_empty                         the process gives the kernel no frames
  partial_checksum wrong_mac         the stack on the other side drops what it gets
  unknown healthy                    no known cause fits; packets flow

what it does to what it looks at:
  Nothing but this: the kernel counts redirects and runs of BPF programs for some seconds (about 0.1 us
  a packet), and the device's program is run on copies of up to 6 packets that were seen, so that its own
  counters move by some (--no-probe: not). AF_XDP sockets are borrowed from their processes for a moment to
  be read (pidfd_getfd). With --fexit the kernel also patches the program while packets go through it.

exit code: 0 healthy, 1 a cause was found, 2 with one line that says what is wrong with the question."""


@dataclass(frozen=True)
class Answer:
    """The finding for one device, and what it stands on."""

    evidence: Evidence
    finding: Finding

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        device, found = self.evidence.device, self.finding
        return {
            "device": device.name,
            "netns": device.place,
            "name": found.name,
            "healthy": found.healthy,
            "cause": found.cause,
            "evidence": list(found.evidence),
            "remedy": found.remedy,
            "facts": self.evidence.as_dict(),
        }


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"xdplab: {message}; see xdplab why --help\n")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; give seconds from 0.05 to 3600")
    return seconds


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no id; ids are positive numbers")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xdplab why",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to look at").add_mutually_exclusive_group()
    what.add_argument("--dev", metavar="IF", help="a device")
    what.add_argument(
        "--id", "--map", type=_number, metavar="N", help="the devices behind the XSKMAP with this id"
    )
    what.add_argument("--pid", type=_number, metavar="N", help="the devices that this process receives by")
    what.add_argument("--run", type=Path, metavar="DIR", help="a finished run: the folder with its run.json")
    parser.add_argument("--netns", metavar="NAME|PID", help="the network namespace that --dev is in")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="how long to watch each device (default: 1)"
    )
    parser.add_argument(
        "--want", choices=("native",), default="", help="the mode in which XDP was to be attached"
    )
    parser.add_argument(
        "--no-probe", action="store_true", help="do not run the device's program on copies of packets"
    )
    parser.add_argument(
        "--fexit",
        action="store_true",
        help="count at the program's exit what it says to each packet, where the kernel takes fexit",
    )
    parser.add_argument("--json", action="store_true", help="for programs, with all that was seen")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0 if packets flow, 1 if a cause was found.

    Raises:
        InputError: what was asked about does not exist, or not root.
        KernelError: the kernel refused to be asked.
    """
    args = _parser().parse_args(argv)
    if args.netns and not args.dev:
        raise InputError("--netns says where the device of --dev is; give --dev too")
    if args.run is not None and (args.seconds or args.no_probe or args.fexit):
        raise InputError("a finished run cannot be watched: leave out --seconds, --no-probe and --fexit")
    answers = _of_run(args.run, args.want) if args.run is not None else _of_system(args)
    if args.json:
        print(json.dumps({"diagnoses": [one.as_dict() for one in answers]}, indent=2))
    else:
        print("\n\n".join(_text(one) for one in answers))
    return 0 if all(one.finding.healthy for one in answers) else 1


def _of_run(path: Path, want: str) -> list[Answer]:
    import dataclasses

    from labs.harness.why.finished import evidence_of_run

    evidence = evidence_of_run(path)
    if want:
        evidence = dataclasses.replace(evidence, want=want)
    return [Answer(evidence, diagnose(evidence))]


def _of_system(args: argparse.Namespace) -> list[Answer]:
    from labs.harness.why import targets
    from labs.harness.why.gather import gather
    from labs.harness.why.view import View

    if os.geteuid() != 0:
        raise InputError("the kernel tells root only about the sockets of all processes: run it with sudo")
    with View() as view:
        if args.dev:
            chosen = targets.of_device(view, args.dev, args.netns)
        elif args.id:
            chosen = targets.of_map(view, args.id)
        elif args.pid:
            chosen = targets.of_process(view, args.pid)
        else:
            chosen = targets.all_devices(view)
        answers = []
        for target in chosen:
            evidence = gather(
                view,
                target,
                seconds=args.seconds or 1.0,
                want=args.want,
                probe=not args.no_probe,
                fexit=args.fexit,
            )
            answers.append(Answer(evidence, diagnose(evidence)))
        return answers


def _text(answer: Answer) -> str:
    from labs.harness.why.text import render

    device = answer.evidence.device
    program = (
        f"program {device.program.id} ({device.program.name}), {device.xdp_mode}"
        if device.program
        else "no XDP"
    )
    width = min(shutil.get_terminal_size((80, 24)).columns, WIDTH) if sys.stdout.isatty() else 80
    return render(f"{device}: {program}", answer.finding, width)
