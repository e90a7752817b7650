# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab cleanup`: removes what killed and kept runs left, and nothing else.

Everything that a run can leave carries the run's id, which says by itself whether its owner still lives
(`labs.harness.runs`). What belongs to a living run stays, and so does all that merely looks like ours.
Standard library only, so that `python3 -m labs.harness.cleanup` works without `.venv`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from labs.harness import runs
from labs.harness.leftovers import Leftover, find, mark_of
from xdp.pyxdp.errors import InputError, KernelError

MNT_DETACH = 2  # include/uapi/linux/fs.h
TERM_SECONDS = 3.0  # for forwarders to print their report
KILL_SECONDS = 3.0


@dataclass(frozen=True)
class Outcome:
    """What was found, what of it was removed, what could not be, and what was left to living runs."""

    dry_run: bool
    removed: tuple[Leftover, ...]
    failed: tuple[tuple[Leftover, str], ...]
    in_use: tuple[Leftover, ...]


def clean_up(*, dry_run: bool = False, everything: bool = False, run: str | None = None) -> Outcome:
    """Remove what dead runs (or only this run, if dead) left. Needs root.

    With `everything` also what living runs are using; with `dry_run` nothing is removed, only told.
    """
    removed: list[Leftover] = []
    failed: list[tuple[Leftover, str]] = []
    in_use: list[Leftover] = []
    found: list[Leftover] = []
    for leftover in find():
        if run is not None and leftover.run != run:
            continue
        mine = everything or not runs.run_is_alive(leftover.run)
        (found if mine else in_use).append(leftover)
    if dry_run:
        return Outcome(True, tuple(found), (), tuple(in_use))

    processes = [leftover for leftover in found if leftover.kind == "process"]
    survivors = _end(processes)
    for leftover in processes:
        if leftover in survivors:
            failed.append((leftover, survivors[leftover]))
        else:
            removed.append(leftover)
    undo: dict[str, Callable[[str], None]] = {"mount": _unmount, "pin": _unpin, "namespace": _unname}
    for leftover in found:
        if leftover.kind == "process":
            continue
        try:
            undo[leftover.kind](leftover.name)
        except OSError as error:
            failed.append((leftover, str(error)))
        else:
            removed.append(leftover)
    return Outcome(False, tuple(removed), tuple(failed), tuple(in_use))


# --- removing ---


def _end(processes: Sequence[Leftover]) -> dict[Leftover, str]:
    """End processes, first politely; returns those that are still there, with the reason.

    Through pidfds: a pid may go to someone else between the look at its mark and the signal.
    """
    refusals: dict[Leftover, str] = {}
    with contextlib.ExitStack() as stack:
        living: dict[int, Leftover] = {}
        for process in processes:
            pid = int(process.name)
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, pidfd)
            if mark_of(pid) == process.run:  # still the same process, as the pidfd holds the pid from here on
                living[pidfd] = process
        for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            for pidfd, process in living.items():
                try:
                    signal.pidfd_send_signal(pidfd, number)
                except ProcessLookupError:
                    pass
                except OSError as error:
                    refusals[process] = str(error)
            living = _still_there(living, time.monotonic() + seconds)
        return {process: refusals.get(process, "still there after SIGKILL") for process in living.values()}


def _still_there(processes: dict[int, Leftover], deadline: float) -> dict[int, Leftover]:
    """Wait until all have ended or the deadline has passed: a pidfd is readable once its process ended."""
    poll = select.poll()
    waiting = dict(processes)
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            del waiting[pidfd]
    return waiting


def _unmount(point: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(point), MNT_DETACH) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise KernelError("unmount", point, ctypes.get_errno())  # EINVAL: nothing is mounted there (any more)


def _unname(name: str) -> None:
    path = runs.NAMESPACE_DIRECTORY / name
    _unmount(str(path))
    path.unlink(missing_ok=True)


def _unpin(directory: str) -> None:
    """Remove a run's pins; never follows a link out of the directory."""
    path = Path(directory)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            (Path(folder) / name).unlink(missing_ok=True)
        for name in folders:
            _remove_folder(Path(folder) / name)
    _remove_folder(path)


def _remove_folder(path: Path) -> None:
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()


# --- the command ---


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xdplab cleanup",
        description="Remove what killed and kept runs left: marked processes, namespaces, pins, mounts.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument("--all", action="store_true", help="also what runs that still live are using")
    parser.add_argument("--run", metavar="ID", help="only what this run left")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 if something could not be removed, or 2 for bad input."""
    try:
        options = _parser().parse_args(argv)
        if os.geteuid() != 0:
            raise InputError("clean-up needs root, even to see what is there: run it with sudo")
        if options.run is not None and not runs.is_run_id(options.run):
            raise InputError(f"--run {options.run} is no run's id; --dry-run lists those that left something")
        outcome = clean_up(dry_run=options.dry_run, everything=options.all, run=options.run)
    except (InputError, KernelError) as error:
        print(f"xdplab: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_as_json(outcome), indent=2))
    else:
        _print(outcome)
    return 1 if outcome.failed else 0


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "dry_run": outcome.dry_run,
        "would_remove" if outcome.dry_run else "removed": [asdict(leftover) for leftover in outcome.removed],
        "failed": [{**asdict(leftover), "reason": reason} for leftover, reason in outcome.failed],
        "in_use": [asdict(leftover) for leftover in outcome.in_use],
    }


def _print(outcome: Outcome) -> None:
    verb = "would remove" if outcome.dry_run else "removed"
    for leftover in outcome.removed:
        print(f"{verb} {_line(leftover)}")
    for leftover, reason in outcome.failed:
        print(f"could not remove {_line(leftover)}: {reason}", file=sys.stderr)
    for leftover in outcome.in_use:
        print(f"left {_line(leftover)}: its run still lives (--all takes it too)")
    if not (outcome.removed or outcome.failed):
        print("nothing was left")


def _line(leftover: Leftover) -> str:
    detail = f" ({leftover.detail[:80]})" if leftover.detail else ""
    return f"{leftover.kind} {leftover.name}{detail} of run {leftover.run}"


if __name__ == "__main__":
    sys.exit(main())
