# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab vm`: any command of the checkout under another kernel."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from labs.harness.arguments import Parser, whole
from labs.harness.results import ResultFolder, default_root
from labs.harness.runs import new_run_id
from labs.harness.vm import accel, kernels, machine
from labs.harness.vm.initramfs import Errand
from labs.harness.vm.spec import MAX_CPUS, MEMORY_MIB, NicSpec, Outcome, VmSpec
from xdp.pyxdp.errors import InputError

PURPOSE = """\
Boots a stock kernel of the distribution with this machine's own files, and runs
a command in it as root: same folder, same virtual environment, same results.
What it writes elsewhere stays in the guest. Works without hardware
virtualisation too: then everything takes some twenty times as long.
"""
RUN_EPILOG = """\
--kernel takes a series of the distribution's packages (6.12: the newest of it),
newest, running, or the path of a bzImage of your own (its modules are looked
for beside it, as modules_install makes them). Packages are unpacked into
$XDG_CACHE_HOME/xdplab; the system's apt and /boot stay as they are.

Cards of --nic are eth0, eth1, … of the guest, all on one hub. virtio,iommu is
the one whose driver grants AF_XDP zero-copy (seen on Linux 7.2 and 7.3); with
virtio,queues=N one has several queues, and all are on a bridge instead.

exit code: that of the command; besides, with the console's end on stderr:
  2   bad input, or something is missing (which is named)
  120 the guest powered off while the command ran
  121 it did not boot        123 it hangs: no sign of life (--hang)
  122 its kernel panicked    124 the command had not ended in time (--timeout)
  130 Ctrl-C, 143 SIGTERM: the guest is gone at once

Its own folder in results/ holds vm.json and the console.

examples:
  xdplab vm run -- xdplab run --packets 500 --rate 500
  xdplab vm run --kernel 5.10 -- xdplab features
  xdplab vm run --kernel ~/linux/arch/x86/boot/bzImage -- pytest -m lab labs/xskmap
  xdplab vm run --nic virtio --nic virtio,iommu -- ip -br link
"""
KERNELS_EPILOG = """\
examples:
  xdplab vm kernels                 those in the cache, and those that could be got
  xdplab vm kernels --fetch 6.12    get (or renew) one, without booting it
"""
USAGE = f"""\
usage: xdplab vm run|labs|kernels [OPTION…]

{PURPOSE}
  xdplab vm run -- COMMAND   any command, under one kernel
  xdplab vm labs             the labs under several, and a table of it
  xdplab vm kernels          what kernels there are

--help of each tells more."""
_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def main(argv: list[str]) -> int:
    """`vm run`, `vm kernels` and `vm labs`; the exit code."""
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": run_command,
        "kernels": kernels_command,
        "labs": labs_command,
    }
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] not in commands:
        raise InputError(f"there is no xdplab vm {argv[0]}; there are {', '.join(commands)}")
    return commands[argv[0]](argv[1:])


def run_parser() -> Parser:
    """The options of `vm run`."""
    made = Parser("xdplab vm run", PURPOSE, RUN_EPILOG)
    made.usage = "xdplab vm run [OPTION…] -- COMMAND [ARGUMENT…]"
    add = made.add_argument
    add(
        "--kernel",
        default=VmSpec.kernel,
        metavar="K",
        help="6.12, newest, running, or a path (default newest)",
    )
    add("--refresh", action="store_true", help="ask the distribution for a newer one than the cache has")
    add("--cpus", type=whole(1, MAX_CPUS), default=VmSpec.cpus, metavar="N", help="processors (default 2)")
    add("--memory", type=whole(*MEMORY_MIB), default=VmSpec.memory_mib, metavar="MIB", help="default 2048")
    add(
        "--nic",
        action="append",
        default=[],
        metavar="CARD",
        help="virtio, virtio,iommu,queues=2, igb, e1000e; repeatable",
    )
    add(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="default auto: KVM if a guest runs with it",
    )
    add("--cpu", default="", metavar="MODEL", help="QEMU's model of a processor (default: all that there is)")
    add(
        "--timeout",
        type=float,
        default=VmSpec.timeout_s,
        metavar="S",
        help="seconds for all of it (default 1800)",
    )
    add(
        "--boot-timeout",
        type=float,
        default=VmSpec.boot_s,
        metavar="S",
        help="until the command begins (default 120)",
    )
    add("--hang", type=float, default=VmSpec.beat_s, metavar="S", help="without a sign of life (default 60)")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="for the command; repeatable")
    add("--append", default="", metavar="TEXT", help="further parameters of the guest's kernel")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)
    return made


def run_command(argv: list[str]) -> int:
    """Boots and runs; the command's exit code, or that of the outcome."""
    options = run_parser().parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise InputError("what shall the guest run? Name it at the end: xdplab vm run -- xdplab features")
    spec = VmSpec(
        options.kernel,
        options.cpus,
        options.memory,
        tuple(NicSpec.parse(text) for text in options.nic),
        options.accel,
        options.cpu,
        options.timeout,
        options.boot_timeout,
        options.hang,
        options.append,
    )
    environment = dict(_variable(text) for text in options.env)
    kernel = kernels.find(spec.kernel, refresh=options.refresh)
    run = new_run_id()
    ending, folder = boot(spec, kernel, command, environment, run)
    print(f"xdplab: {summary(kernel, ending)}; {folder}", file=sys.stderr)
    if ending.outcome is not Outcome.ENDED and ending.console_end:
        print(f"the console's end:\n{ending.console_end}", file=sys.stderr)
    return ending.exit_code


def boot(
    spec: VmSpec, kernel: kernels.Kernel, command: list[str], environment: dict[str, str], run: str
) -> tuple[machine.Ending, Path]:
    """Runs a command in a guest, its output on ours; how it ended, and the folder of the result.

    Raises:
        InputError: something is missing; nothing is left.
    """
    chosen = accel.choose(spec, kernel, run)
    folder = ResultFolder("vm", run)
    try:
        errand = Errand(
            command,
            machine.errand_environment(environment, chosen),
            Path.cwd(),
            machine.results_folder(default_root()),
        )
        ending = machine.run(
            spec,
            kernel,
            errand,
            run=run,
            accel=chosen,
            stdout=_writer(sys.stdout),
            stderr=_writer(sys.stderr),
        )
    except BaseException:
        folder.discard()
        raise
    folder.write_text("console.txt", ending.console)
    # Not `latest`: that is what the command in the guest has made of it.
    folder.write(
        "vm.json",
        {"spec": spec.to_dict(), "kernel": kernel.release, "command": command, **ending.to_dict()},
        latest=False,
    )
    return ending, folder.path


def summary(kernel: kernels.Kernel, ending: machine.Ending) -> str:
    """One line."""
    how = f"guest {kernel.release} ({ending.accel})"
    if ending.outcome is not Outcome.ENDED:
        return f"{how}: {ending.why}"
    return f"{how}: booted in {ending.boot_s:g} s, ran {ending.command_s:g} s, exit code {ending.code}"


def kernels_command(argv: list[str]) -> int:
    """Lists what is in the cache and what could be there."""
    parser = Parser("xdplab vm kernels", "Kernels for xdplab vm run --kernel.", KERNELS_EPILOG)
    parser.add_argument("--fetch", metavar="K", help="get this series into the cache")
    options = parser.parse_args(argv)
    if options.fetch:
        print(kernels.find(options.fetch, refresh=True).image)
        return 0
    here = {kernels.series_of(kernel.release): kernel.release for kernel in kernels.cached()}
    there = kernels.available()
    for series in sorted({*here, *there}, key=kernels.numbers):
        print(f"{series:6} {here.get(series, 'not in the cache'):30} newest: {there.get(series, 'unknown')}")
    return 0


def labs_command(argv: list[str]) -> int:
    """The labs under several kernels."""
    return int(importlib.import_module("labs.kernels.cli").main(argv))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _name.fullmatch(name):
        raise InputError(f"--env {text}: write it as NAME=VALUE")
    return name, value


def _writer(stream: object) -> machine.Sink:
    buffer = getattr(stream, "buffer", None)

    def write(data: bytes) -> None:
        if buffer is None:  # a captured stream of a test
            print(data.decode(errors="replace"), end="", file=stream)  # type: ignore[call-overload]
            return
        buffer.write(data)
        buffer.flush()

    return write
