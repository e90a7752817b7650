# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Finds what runs leave: everything on this machine that carries a run's id.

Standard library only, as clean-up must also work without `.venv`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labs.harness import runs


@dataclass(frozen=True)
class Leftover:
    """One thing that a run left: its kind (process, namespace, pin, mount), name and run."""

    kind: str
    name: str
    run: str
    detail: str = ""


def find() -> list[Leftover]:
    """All that carries a run's id on this machine, of dead and of living runs, in the order of removal.

    Processes come first: a namespace that they are in would outlive its name.
    """
    return [*_processes(), *_mounts(), *_pins(), *_namespaces()]


def mark_of(pid: int) -> str | None:
    """The run in a process's environment as it was at exec, or None for one unmarked, dead or gone."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{runs.MARK}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(prefix):
            run = variable[len(prefix) :].decode(errors="replace")
            return run if runs.is_run_id(run) else None
    return None


def _processes() -> Iterator[Leftover]:
    spared = _ourselves()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        run = mark_of(int(entry.name))
        if run:
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
                yield Leftover("process", entry.name, run, shlex.join(words))


def _ourselves() -> set[int]:
    """Our pid and those of our ancestors: clean-up may be called from a shell that a kept run opened."""
    pids: set[int] = set()
    pid = os.getpid()
    while pid and pid not in pids:
        pids.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            break
        pid = int(stat[stat.rindex(")") + 2 :].split()[1])
    return pids


def _mounts() -> Iterator[Leftover]:
    """Mounts whose source or last path component is `xl-<run>…`, innermost first, without namespaces."""
    for point, _, source in reversed(_mount_table()):
        run = runs.run_of(source) or runs.run_of(point.name)
        if run and point.parent != runs.NAMESPACE_DIRECTORY:
            yield Leftover("mount", str(point), run)


def _pins() -> Iterator[Leftover]:
    directory = runs.PIN_DIRECTORY
    if not any(kind == "bpf" and point in directory.parents for point, kind, _ in _mount_table()):
        return
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(directory.iterdir()):
            if runs.is_run_id(entry.name):
                yield Leftover("pin", str(entry), entry.name)


def _namespaces() -> Iterator[Leftover]:
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(runs.NAMESPACE_DIRECTORY.iterdir()):
            run = runs.run_of(entry.name)
            if run:
                yield Leftover("namespace", entry.name, run)


def _mount_table() -> list[tuple[Path, str, str]]:
    """(mount point, type, source) of each mount, as proc_pid_mountinfo(5) has them, outermost first."""
    table = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        kind, source, *_ = after.split(" ")
        table.append((Path(_unescape(before.split(" ")[4])), kind, _unescape(source)))
    return table


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
