# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Once all is bound a forwarder has no privilege, as the kernel tells of each thread, and still forwards."""

from __future__ import annotations

import os
import pwd
import select
import signal
import sys
from collections.abc import Callable

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.process import Process
from labs.harness.topology import Topology
from xdp.program import Program

from .conftest import check_books, statuses

pytestmark = pytest.mark.lab

CAP_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# What a login as root may have, and must not stay.
IN_GROUPS = ("setpriv", "--groups=1,2", sys.executable, "-m", "forwarder")
NOBODY = pwd.getpwnam("nobody")


def sends_all_back(forwarder: ForwarderProcess, send: Callable[[int], None]) -> None:
    send(200)
    forwarder.wait_for(lambda: forwarder.counters()["tx_completed"] == 200, 5, "200 packets sent back")
    assert check_books(forwarder.stop())["rx_packets"] == 200


@pytest.mark.parametrize("user", ["", "nobody"])
def test_no_thread_keeps_a_privilege_and_packets_still_come_and_go(
    topology: Topology,
    program: Program,
    attachment: object,
    run_id: str,
    send: Callable[[int], None],
    user: str,
) -> None:
    spec = ForwarderSpec("dut0", action="echo", check_owners=True, user=user)
    map_fd, dut = program.map_fd("xsks_map"), topology["dut"]
    with ForwarderProcess(spec, namespace=dut, run=run_id, xskmap_fd=map_fd, program=IN_GROUPS) as forwarder:
        threads = statuses(forwarder.pid)
        assert len(threads) >= 2
        for status in threads:
            assert {name: int(status[name], 16) for name in CAP_SETS} == dict.fromkeys(CAP_SETS, 0)
            assert status["NoNewPrivs"] == "1"
            uid, gid = (NOBODY.pw_uid, NOBODY.pw_gid) if user else (0, 0)
            assert status["Uid"].split() == [str(uid)] * 4
            assert status["Gid"].split() == [str(gid)] * 4
            assert not user or status["Groups"] == ""
        granted = forwarder.ready["process"]
        assert (granted["uid"], granted["gid"]) == (uid, gid)
        assert int(granted["capabilities"], 16) == 0
        assert granted["no_new_privs"] is True
        sends_all_back(forwarder, send)


def test_privileges_stay_where_that_is_asked_for(topology: Topology, run_id: str) -> None:
    spec = ForwarderSpec("dut0", keep_privileges=True)
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
        own = statuses(os.getpid())[0]
        for status in statuses(forwarder.pid):
            assert {name: status[name] for name in CAP_SETS} == {name: own[name] for name in CAP_SETS}
            assert status["NoNewPrivs"] == own["NoNewPrivs"]


def test_a_python_function_s_libraries_keep_nothing_either(topology: Topology, run_id: str) -> None:
    spec = ForwarderSpec("dut0", action="python", python="labs.forwarder.functions:odd_back")
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
        assert {status["CapPrm"].strip("0") for status in statuses(forwarder.pid)} == {""}


def test_it_still_dies_with_its_parent_as_another_user(topology: Topology, run_id: str) -> None:
    """The kernel forgets the signal at the parent's death when the user changes."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    spec = ForwarderSpec("dut0", user="nobody", parent_death_signal=True, interval=0.05)
    command = [sys.executable, "-c", code, sys.executable, "-m", "forwarder", *spec.to_argv()]
    with Process(command, run=run_id, namespace=topology["dut"]) as parent:
        parent.wait_for(lambda: parent.stdout.endswith("\n"), 10, "a forwarder that runs")
        pidfd = os.pidfd_open(int(parent.stdout))
        try:
            os.kill(parent.pid, signal.SIGKILL)
            # Not parent.wait(): that ends the whole process group.
            assert select.select([pidfd], [], [], 5)[0], "it outlived its parent"
        finally:
            os.close(pidfd)
