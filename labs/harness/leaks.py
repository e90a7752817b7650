# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What this process holds of the system, so that what a test left behind can be named."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from labs.harness.runs import NAMESPACE_DIRECTORY, new_run_id, run_of

# A killed child is reaped, and its sockets' teardown in the kernel ends, shortly after, not at once.
PATIENCE_S = 2.0
# Where `ip netns` keeps all names: it mounts the folder on itself at its first use since the machine started.
NAMESPACE_MOUNTS = {str(NAMESPACE_DIRECTORY), "/var/run/netns"}

# Nothing tells who made them: a container's start in the middle of a lab looks like a leak.
MAYBE_ANOTHERS = " (unless another program on this machine has made it meanwhile)"


@dataclass(frozen=True)
class Holdings:
    """What is held at one moment.

    Attributes:
        files: "number → what" of each open descriptor; BPF objects with their id.
        children: "pid command" of each living descendant.
        devices: network devices of the process's own namespace.
        namespaces: names below /run/netns that belong to runs of this process.
        mounts: mount points that this process sees, without those of other runs.
        thread_namespace: the network namespace of the calling thread.
    """

    files: frozenset[str]
    children: frozenset[str]
    devices: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    thread_namespace: str

    def beyond(self, earlier: Holdings) -> list[str]:
        """What is held now and was not then, a line each; also a namespace that was entered and not left."""
        lines = []
        for kind in ("files", "children", "devices", "namespaces", "mounts"):
            note = MAYBE_ANOTHERS if kind in ("devices", "mounts") else ""
            more = sorted(getattr(self, kind) - getattr(earlier, kind))
            lines += [f"{kind}: {item}{note}" for item in more]
        if self.thread_namespace != earlier.thread_namespace:
            lines.append(f"thread left in {self.thread_namespace}, was in {earlier.thread_namespace}")
        return lines


def holdings() -> Holdings:
    """What this process holds now."""
    return Holdings(
        files=frozenset(_files()),
        children=frozenset(_children()),
        devices=frozenset(name for _, name in socket.if_nameindex()),
        namespaces=frozenset(_own_namespaces()),
        mounts=frozenset(_mounts()),
        thread_namespace=str(Path("/proc/thread-self/ns/net").readlink()),
    )


def leaked_since(earlier: Holdings, patience_s: float = PATIENCE_S) -> list[str]:
    """What is left behind after a bounded wait for what ends by itself; empty if nothing."""
    deadline = time.monotonic() + patience_s
    while True:
        left = holdings().beyond(earlier)
        if not left or time.monotonic() > deadline:
            return left
        gc.collect()  # what only a reference cycle holds is no leak
        time.sleep(0.01)


def _files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            target = str(entry.readlink())
            if target.startswith("anon_inode:bpf"):
                target += _bpf_id(entry.name)
            found.append(f"{entry.name} → {target}")
    return found


def _bpf_id(number: str) -> str:
    for line in Path("/proc/self/fdinfo", number).read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("map_id", "prog_id", "link_id"):
            return f" {key} {value.strip()}"
    return ""


def _children() -> list[str]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            state = " (zombie)" if child.status() == psutil.STATUS_ZOMBIE else ""
            found.append(f"{child.pid} {child.name()}{state}")
    return found


def _is_own(run: str | None) -> bool:
    """Is this the id of a run of this process?

    The last part only numbers the runs of one process.
    """
    return run is not None and run.rsplit("_", 1)[0] == new_run_id().rsplit("_", 1)[0]


def _own_namespaces() -> list[str]:
    if not NAMESPACE_DIRECTORY.is_dir():
        return []
    return [name for name in os.listdir(NAMESPACE_DIRECTORY) if _is_own(run_of(name))]  # noqa: PTH208 (names, not paths)


def _mounts() -> list[str]:
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point in NAMESPACE_MOUNTS:
            continue
        run = run_of(Path(point).name)
        if run is None or _is_own(run):
            points.append(point)
    return points
