# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command `xdplab`: finds the subcommand, and turns every error that has a known cause into one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from labs.harness.signals import Terminated, handled
from xdp.pyxdp.errors import InputError, KernelError

EXIT_INPUT = 2
EXIT_SIGNAL = 128  # and the signal's number, as shells have it


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
    "why": Command(
        "labs.harness.why.cli", "why zero packets? one cause in a sentence, with evidence and remedy"
    ),
    "forward": Command(
        "forwarder.cli", "the AF_XDP forwarder: drop, echo, forward, respond, or your function"
    ),
    "stats": Command("labs.harness.cli_stats", "what running forwarders do: rates, rings, drops, kicks"),
    "bench": Command(
        "labs.bench.pipeline", "how long pipelines take to stand and to go; system calls a packet"
    ),
    "send": Command("labs.harness.cli_send", "exactly the asked frames, up to millions a second"),
    "sink": Command("labs.harness.cli_sink", "what of them came: lost, doubled, late, damaged; latencies"),
    "conformance": Command(
        "labs.conformance.cli", "does AF_XDP, or a forwarder, do what its users rely on? a table"
    ),
    "features": Command("labs.harness.cli_features", "what this kernel can do, found by trying"),
    "vm": Command("labs.harness.vm.cli", "any of this under another kernel, in a virtual machine"),
    "cleanup": Command("labs.harness.cleanup", "remove what killed or kept labs left"),
}


def usage() -> str:
    """The text of `xdplab --help`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {command.purpose}" for name, command in COMMANDS.items())
    return f"""usage: xdplab [--verbose] COMMAND [OPTION…]

A lab for AF_XDP pipelines: every frame that is sent has exactly one fate,
and you are told which.

commands:
{commands}

options:
  -h, --help     this text; xdplab COMMAND --help for a command's own
  -v, --verbose  after an error print the verifier's log too
  --version      print the version

first steps:
  sudo xdplab run        the main lab: UDP through an XSKMAP and back
  sudo xdplab xskmap     every XSKMAP of this machine and who is in it
  sudo xdplab why        why an AF_XDP program, of anybody's, sees no packets
  sudo xdplab features   what works here, and why what does not"""


def main(argv: list[str] | None = None) -> int:
    """Runs a subcommand; exit code 0, 1 for a verdict of FAIL, 2 for bad input or a refusal of the kernel."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = bool({"-v", "--verbose"} & set(arguments))
    arguments = [argument for argument in arguments if argument not in ("-v", "--verbose")]
    return guarded(lambda: _dispatch(arguments), verbose=verbose)


def guarded(run: Callable[[], int], *, verbose: bool = False) -> int:
    """Runs what gives an exit code; what goes wrong, and a signal, is one line and its own exit code."""
    with handled():
        try:
            code = run()
            sys.stdout.flush()  # here, where a reader that went away is no surprise
            return code
        except (InputError, KernelError) as error:
            return _fail_with(error, verbose)
        except KeyboardInterrupt:
            return _ended("interrupted", signal.SIGINT)
        except Terminated as end:
            return _ended(f"ended by {end.signal.name}", end.signal)
        except BrokenPipeError:
            return _reader_gone()
        except (RuntimeError, TimeoutError) as error:
            from labs.harness.process import ProcessError

            if isinstance(error, (ProcessError, TimeoutError)):  # a child died, or nothing moves any more
                return fail(str(error))
            raise


def fail(message: str, log: str = "") -> int:
    """Prints one line (and a log, if there is one); gives the exit code for it."""
    print("xdplab: " + " ".join(message.split("\n")), file=sys.stderr)
    if log:
        print(log, file=sys.stderr)
    return EXIT_INPUT


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else EXIT_INPUT
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"xdplab {version('xdplab')}")
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        kind = "option" if arguments[0].startswith("-") else "command"
        raise InputError(f"there is no {kind} {arguments[0]!r}; the commands are {', '.join(COMMANDS)}")
    try:
        return int(importlib.import_module(command.module).main(arguments[1:]) or 0)
    except SystemExit as end:
        # argparse ends --help so, and rich ends when nobody reads on.
        if isinstance(end, Terminated) or not isinstance(end.code, int):
            raise
        return end.code


def _fail_with(error: InputError | KernelError, verbose: bool) -> int:
    log = error.log if isinstance(error, KernelError) else ""
    if log and not verbose:
        return fail(f"{error} (the whole log: add --verbose)")
    return fail(str(error), log)


def _ended(how: str, number: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(f"xdplab: {how}; everything was removed", file=sys.stderr)
    return EXIT_SIGNAL + number


def _reader_gone() -> int:
    """The reader of our output (head, less) went away: no error of ours, but no whole run either."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())  # what is still buffered is written at exit
    os.close(devnull)
    return EXIT_SIGNAL + signal.SIGPIPE
