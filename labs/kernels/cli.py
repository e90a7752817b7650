# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab vm labs`: the labs under several kernels, one after the other, and one table of it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from rich.table import Table

from labs.harness.arguments import Parser
from labs.harness.console import console
from labs.harness.results import ResultFolder, default_root
from labs.harness.runs import new_run_id
from labs.harness.vm import accel, kernels, machine, qemu, tools
from labs.harness.vm.initramfs import Errand
from labs.harness.vm.spec import NicSpec, Outcome, VmSpec
from labs.kernels import column, table
from xdp.pyxdp.errors import InputError

TIMEOUT_S = 5400.0  # about twice what an emulated kernel takes for all labs beside another guest
KERNELS = "5.10,5.15,6.1,6.12,newest"
LABS = ("pipeline", "xskmap", "foreign", "forwarder", "ledger", "why", "logic")
# For the row zero_copy_driver: no kernel without a card can show that its driver knows it. No lab uses it; a
# kernel of the user's own need not have the driver.
CARDS = (NicSpec.parse("virtio,iommu"),)
ROOT = Path(__file__).parents[2]
DESCRIPTION = """\
Boots each kernel in turn and runs the main lab and the labs in it; one table
says what passed, failed or was skipped on which, and what each kernel offers.
"""
EPILOG = """\
exit code: 0 nothing failed, 1 a lab or a guest failed, 2 it could not run

Each lab is a pytest run of its own: what has ended stands in the table whatever
the time limit or a panic does to the rest, which is "cut off" or "not reached".
After Ctrl-C the table of the kernels before is in the folder of the results.
In emulation forwarder, ledger, why and logic took 30 minutes a kernel on two
cores that others used too: plan three hours for five kernels.

A kernel that no package source has is a column that says so. With --object the
main lab runs with an XDP program of yours (it needs a map xsks_map): whether
each kernel's verifier takes it, and all packets come back through it.

examples:
  xdplab vm labs                                    all of it
  xdplab vm labs --kernels 5.10,newest --labs xskmap
  xdplab vm labs --kernels 5.10,6.1,6.12 --labs '' --object ./mine.bpf.o
"""


def main(argv: list[str]) -> int:
    """Runs and prints; the exit code."""
    parser = Parser("xdplab vm labs", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--kernels", default=KERNELS, metavar="K,K…", help=f"default {KERNELS}")
    add("--labs", default=",".join(LABS), metavar="L,L…", help=f"folders of labs/ (default {','.join(LABS)})")
    add("--object", default="", metavar="FILE", help="an XDP program of yours for the main lab")
    add(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="S",
        help=f"seconds a kernel (default {TIMEOUT_S:g})",
    )
    add(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="default auto: KVM if a guest runs with it",
    )
    options = parser.parse_args(argv)
    labs = [name for name in options.labs.split(",") if name]
    names = [name for name in options.kernels.split(",") if name]
    program = str(Path(options.object).resolve()) if options.object else "-"
    _check(names, labs, options.object)
    run = new_run_id()
    folder = ResultFolder("kernels", run)
    columns: list[column.Column] = []
    try:
        for number, name in enumerate(names, 1):
            print(f"--- {name}, kernel {number} of {len(names)}", file=sys.stderr, flush=True)
            spec = VmSpec(
                name, nics=() if "/" in name else CARDS, timeout_s=options.timeout, accel=options.accel
            )
            columns.append(_column(spec, folder.path.resolve(), program, labs, run))
            # Each time: of an hour's work all is there, whatever ends the next kernel.
            folder.write("kernels.json", table.to_dict(columns), latest=False)
            folder.write_text("table.md", table.markdown(columns))
    except BaseException:
        if any(folder.path.glob("*/*")):
            print(f"xdplab: what had ended is in {folder.path}", file=sys.stderr)
        else:
            folder.discard()
        raise
    _print(columns)
    print(f"result      {folder.path}/table.md")
    if not any(one.available for one in columns):
        raise InputError(columns[0].problem)
    return int(any(one.failed for one in columns))


def _check(names: list[str], labs: list[str], program: str) -> None:
    if not names:
        raise InputError("--kernels: name at least one, like 6.12")
    for lab in labs:
        if not (ROOT / "labs" / lab).is_dir():
            raise InputError(f"--labs: there is no labs/{lab}; there are {', '.join(LABS)}")
    if program and not Path(program).is_file():
        raise InputError(f"--object {program}: there is no such file")


def _column(spec: VmSpec, folder: Path, program: str, labs: list[str], run: str) -> column.Column:
    """A kernel's column: boots it, and reads what it left."""
    try:
        kernel = kernels.find(spec.kernel)
    except InputError as error:
        return column.Column(spec.kernel, problem=str(error), available=False)
    tools.need(qemu.PROGRAM)  # what is missing for one kernel is missing for all
    tools.static_busybox()
    place = folder / spec.kernel.replace("/", "_")
    place.mkdir()
    name = kernels.series_of(kernel.release) if spec.kernel == kernels.NEWEST else spec.kernel
    try:
        ending = _boot(spec, kernel, place, [program, *labs], run)
    except InputError as error:  # a module that it lacks, say: the other kernels are not to blame
        return column.read(name, kernel.release, place, labs, str(error))
    (place / "console.txt").write_text(ending.console)
    problem = ""
    if ending.outcome is not Outcome.ENDED:
        problem = f"{ending.why}\n{ending.console_end}"
    found = column.read(name, kernel.release, place, labs, problem)
    found.wall_s = ending.wall_s
    return found


def _boot(spec: VmSpec, kernel: kernels.Kernel, place: Path, words: list[str], run: str) -> machine.Ending:
    chosen = accel.choose(spec, kernel, run)
    errand = Errand(
        [sys.executable, "-m", "labs.kernels.inside", str(place), *words],
        machine.errand_environment({"XDPLAB_RESULTS": str(place)}, chosen),
        ROOT,
        machine.results_folder(default_root()),
    )
    return machine.run(spec, kernel, errand, run=run, accel=chosen, stdout=_show, stderr=_show)


def _print(columns: list[column.Column]) -> None:
    for head, rows in (table.labs_table(columns), table.features_table(columns)):
        if not rows:
            continue
        shown = Table(box=None, pad_edge=False)
        for title in head:
            shown.add_column(title)
        for row in rows:
            shown.add_row(row[0], *(row[1:] if row[0] == table.TIME_ROW else map(_coloured, row[1:])))
        console().print(shown)
        print()
    for line in table.notes(columns):
        print(line)


def _coloured(cell: str) -> str:
    colour = {"pass": "green", "yes": "green", "FAIL": "red", "no": "dim"}.get(cell.split()[0], "yellow")
    return f"[{colour}]{cell}[/]"


def _show(data: bytes) -> None:
    """Progress, on standard error: the table is the output."""
    with contextlib.suppress(BlockingIOError):
        os.write(sys.stderr.fileno(), data)
