# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The id of a run, which says by itself who owns what a run leaves, and whether that process still lives.

Namespaces, pins and processes carry it, so that clean-up can tell what a killed or kept run left from what a
run next door is using, without any register that could itself be left behind. Standard library only, as
clean-up must also work without `.venv`.
"""

from __future__ import annotations

import itertools
import os
import re
import string
from pathlib import Path

MARK = "XDPLAB_RUN"
"""Environment variable by which a process says to which run it belongs."""

NAMESPACE_PREFIX = "xl-"
NAMESPACE_DIRECTORY = Path("/run/netns")
PIN_DIRECTORY = Path("/sys/fs/bpf/xdplab")
"""Pins of a run are below `PIN_DIRECTORY / run`."""

_DIGITS = string.digits + string.ascii_lowercase
_id = re.compile(
    r"(?P<pid>[0-9a-z]{1,5})_(?P<start>[0-9a-z]{1,9})_[0-9a-z]{1,6}"
)  # pids end at 2^22: 5 digits
_name = re.compile(r"xl-(?P<run>[0-9a-z]+_[0-9a-z]+_[0-9a-z]+)(-[0-9a-z-]+)?")
_counter = itertools.count()


def new_run_id() -> str:
    """An id for a run of this process: its pid, its start time and a number, in base 36 (`1k3_9x2f_0`).

    It has neither "-", which ends it in a name, nor ".", which a BPF filesystem refuses.
    """
    pid = os.getpid()
    start = start_time(pid)
    if start is None:
        raise RuntimeError("/proc does not show this process; is it mounted?")
    return "_".join(_base36(number) for number in (pid, start, next(_counter)))


def is_run_id(text: str) -> bool:
    """Whether `new_run_id` could have made this."""
    return _id.fullmatch(text) is not None


def run_is_alive(run: str) -> bool:
    """Whether the very process that made this id still lives (another process with its pid does not count).

    A zombie does not live. What is no run's id has no owner, so nothing lives.
    """
    parts = _id.fullmatch(run)
    return parts is not None and start_time(int(parts["pid"], 36)) == int(parts["start"], 36)


def namespace_name(run: str, role: str) -> str:
    """The name below `/run/netns` of a run's namespace."""
    return f"{NAMESPACE_PREFIX}{run}-{role}"


def run_of(name: str) -> str | None:
    """The run in a name like `xl-<run>` or `xl-<run>-<role>`, or None if the name is not of our making."""
    parts = _name.fullmatch(name)
    return parts["run"] if parts and is_run_id(parts["run"]) else None


def start_time(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot (field 22 of proc_pid_stat(5)), or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat[stat.rindex(")") + 2 :].split()  # the command may hold spaces and parentheses
    return None if state in "ZX" else int(fields[18])


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits
