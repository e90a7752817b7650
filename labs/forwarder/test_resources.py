# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Priority and locked memory: asked for is what the kernel has; what it refuses is told with figures."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.process import NotReadyError
from labs.harness.topology import Topology

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("priority", "policy", "number"), [("fifo:7", os.SCHED_FIFO, 7), ("nice:-5", os.SCHED_OTHER, -5)]
)
def test_the_queue_s_thread_has_the_priority_and_the_others_have_not(
    topology: Topology, run_id: str, priority: str, policy: int, number: int
) -> None:
    spec = ForwarderSpec("dut0", priority=priority)
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
        assert forwarder.ready["process"]["priority"] == priority
        threads = [int(entry.name) for entry in Path(f"/proc/{forwarder.pid}/task").iterdir()]
        found = {
            thread: (
                os.sched_getscheduler(thread),
                os.sched_getparam(thread).sched_priority or os.getpriority(os.PRIO_PROCESS, thread),
            )
            for thread in threads
        }
        assert [thread for thread in threads if found[thread] == (policy, number)] == sorted(threads)[1:2]
        ours = (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))
        assert [thread for thread in threads if found[thread] == ours] != []
        assert set(found.values()) == {(policy, number), ours}


@pytest.mark.parametrize("how", ["all", "on-fault"])
def test_memory_is_locked_where_that_is_asked_for(topology: Topology, run_id: str, how: str) -> None:
    spec = ForwarderSpec("dut0", lock_memory=how)
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
        assert forwarder.ready["process"]["memory_locked"] in ("current", "current and future")
        size, resident = locked_of(forwarder.pid)
        assert size > len(forwarder.sockets) * spec.frames * spec.frame_size
        # All of it is in memory at once; on-fault leaves what was never used where it is.
        assert (resident >= 0.99 * size) == (how == "all"), (size, resident)


def locked_of(pid: int) -> tuple[int, int]:
    """Bytes that are locked, and how many of them are in memory; without what nobody may touch."""
    size = resident = 0
    of: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "VmFlags":
            flags = value.split()
            if "lo" in flags and "rd" in flags:
                size += int(of["Size"].split()[0]) << 10
                resident += int(of["Rss"].split()[0]) << 10
        of[key] = value
    return size, resident


# As root with everything but CAP_IPC_LOCK, under the 8 MiB that most systems allow.
LIMITED = ("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=8388608")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            ForwarderSpec("dut0", frames=8192),
            r"register UMEM .* 16,777,216 bytes must be locked, and RLIMIT_MEMLOCK is 8,388,608 .* --frames",
        ),
        (
            ForwarderSpec("dut0", frames=1024, lock_memory="all"),
            r"lock memory \(--lock-memory all\).* [\d,]{9,} bytes must be locked, and RLIMIT_MEMLOCK is 8,",
        ),
    ],
    ids=["UMEM", "process"],
)
def test_a_limit_that_is_too_low_is_told_with_both_figures(
    topology: Topology, run_id: str, spec: ForwarderSpec, message: str
) -> None:
    for tool in LIMITED[0], LIMITED[3]:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: install util-linux")
    program = (*LIMITED, sys.executable, "-m", "forwarder")
    with pytest.raises(NotReadyError, match=message) as refused:
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id, program=program)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("capability", "changes", "message"),
    [
        ("sys_nice", {"priority": "fifo:1"}, r"--priority fifo:1: not allowed without CAP_SYS_NICE"),
        ("sys_nice", {"priority": "nice:-1"}, r"--priority nice:-1: not allowed without CAP_SYS_NICE"),
        ("setuid", {"user": "nobody"}, r"--user: becoming \d+:\d+ needs CAP_SETUID and CAP_SETGID"),
    ],
)
def test_what_is_not_allowed_is_one_line(
    topology: Topology, run_id: str, capability: str, changes: dict[str, str], message: str
) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv: install util-linux")
    without = ("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}")
    program = (*without, sys.executable, "-m", "forwarder")
    spec = ForwarderSpec("dut0", **changes)  # type: ignore[arg-type]  # all of them are text
    with pytest.raises(NotReadyError, match=message):
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id, program=program)
