# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command `xdplab`: finds the subcommand, and turns every error that has a known cause into one line."""

from __future__ import annotations

import importlib
import signal
import sys
from dataclasses import dataclass
from types import FrameType

from xdp.pyxdp.errors import InputError, KernelError

EXIT_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class Command:
    """A subcommand: where its `main(argv) -> exit code` lives, and what it is for."""

    module: str
    purpose: str


COMMANDS = {
    "run": Command(
        "labs.harness.cli_run", "run a lab: network, XDP program, forwarder, traffic, ledger, verdict"
    ),
    "xskmap": Command("xdp.cli_xskmap", "what is in an XSKMAP: sockets, owners, ring levels, drops"),
    "forward": Command(
        "forwarder.cli", "the AF_XDP forwarder: drop, echo, forward, respond, or your function"
    ),
    "bench": Command(
        "labs.harness.bench_pipeline", "how long pipelines take to stand and to go; system calls a packet"
    ),
    "features": Command("labs.harness.cli_features", "what this kernel can do, found by trying"),
    "cleanup": Command("labs.harness.cleanup", "remove what killed or kept labs left"),
}


def usage() -> str:
    """The text of `xdplab --help`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {command.purpose}" for name, command in COMMANDS.items())
    return f"""usage: xdplab [--verbose] COMMAND [OPTION…]

A lab for AF_XDP pipelines: every frame that is sent has exactly one fate, and you are told which.

commands:
{commands}

options:
  -h, --help     this text; xdplab COMMAND --help for a command's own
  -v, --verbose  after an error print the verifier's log too
  --version      print the version

first steps:
  sudo xdplab run              the main lab: 10,000 datagrams through an XSKMAP and back
  sudo xdplab xskmap           every XSKMAP of this machine and who is in it
  sudo xdplab features         what works here, and why what does not"""


def main(argv: list[str] | None = None) -> int:
    """Runs a subcommand; exit code 0, 1 for a verdict of FAIL, 2 for bad input or a refusal of the kernel."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = False
    while arguments and arguments[0] in ("-v", "--verbose"):
        verbose = True
        arguments.pop(0)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else EXIT_INPUT
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"xdplab {version('xdplab')}")
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        return fail(f"there is no command {arguments[0]!r}; there are {', '.join(COMMANDS)}")
    signal.signal(signal.SIGTERM, _end)
    try:
        return int(importlib.import_module(command.module).main(arguments[1:]) or 0)
    except (InputError, KernelError) as error:
        log = error.log if isinstance(error, KernelError) and verbose else ""
        return fail(str(error), log)
    except KeyboardInterrupt:
        print("xdplab: interrupted; everything was removed", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away: no error of ours, but nothing can be flushed.
        sys.stderr.close()
        return 0


def fail(message: str, log: str = "") -> int:
    """Prints one line (and a log, if there is one); gives the exit code for it."""
    print("xdplab: " + " ".join(message.split("\n")), file=sys.stderr)
    if log:
        print(log, file=sys.stderr)
    return EXIT_INPUT


def _end(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM takes the same way out as other errors do, so that everything is undone."""
    raise SystemExit(128 + signal.SIGTERM)
