# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every way to end leaves the books balanced, or nothing at all."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable

import pytest

from forwarder._batch import COUNTERS
from forwarder.loop import BatchLoop
from forwarder.spec import ForwarderSpec
from labs.harness.flood import flood
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.process import ProcessError
from labs.harness.topology import CHAIN, Topology, TopologySpec
from xdp.program import Program

from .conftest import HEADERS, check_books

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly_with_the_report_as_last_line(
    forwarder: ForwarderProcess, send: Callable[[int], None], ending: signal.Signals
) -> None:
    send(100)
    forwarder.wait_for(lambda: forwarder.counters()["tx_completed"] == 100, 5, "packets sent back")
    os.kill(forwarder.pid, ending)
    assert forwarder.wait(5) == 0
    report = json.loads(forwarder.stdout.splitlines()[-1])
    assert report == forwarder.report()
    counters = check_books(report)
    assert counters["rx_packets"] == counters["tx_packets"] == 100
    assert counters["syscalls"] == (counters["poll_calls"] + counters["tx_kicks"] + counters["fill_kicks"]), (
        "every system call of the loop is counted once, by its kind"
    )
    assert forwarder.stderr == ""


def test_sleeping_forwarder_is_woken_to_end(forwarder: ForwarderProcess) -> None:
    forwarder.wait_for(lambda: forwarder.counters()["poll_calls"] > 1, 5, "a loop asleep")
    counters = check_books(forwarder.stop())
    assert counters["rx_packets"] == 0
    assert counters["poll_wakeups"] == 1, "by the eventfd, not by a time-out"


def test_queue_that_is_given_up_meanwhile_is_waited_for(topology: Topology) -> None:
    spec = ForwarderSpec("dut0")
    memory = [memoryview(bytearray(8 * len(COUNTERS))) for _ in range(2)]
    with topology["dut"].entered(), BatchLoop(spec, 0, memory[0]) as first:
        later = threading.Timer(0.1, first.close)
        later.start()
        with BatchLoop(spec, 0, memory[1]) as second:
            assert second.granted[0].queue == 0
        later.join()


class TestDrain:
    """What is queued when the end comes."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return CHAIN

    @pytest.mark.usefixtures("attachment")
    def test_what_is_queued_is_sent_before_the_end(
        self, topology: Topology, program: Program, send: Callable[[int], None]
    ) -> None:
        spec = ForwarderSpec("dut0", action="forward", out="dut1", check_owners=True)
        memory = memoryview(bytearray(8 * len(COUNTERS))).cast("Q")
        completed = COUNTERS.index("tx_completed")
        dut1 = topology["dut"].interface_index("dut1")
        with topology["dut"].entered():
            loop = BatchLoop(spec, 0, memory.cast("B"))
        with loop, topology["dut"].netlink() as route:
            loop.enter(program.map_fd("xsks_map"))
            route.link("set", index=dut1, state="down")
            send(100)
            loop.run(20)
            assert (memory[COUNTERS.index("tx_packets")], memory[completed]) == (100, 0)
            route.link("set", index=dut1, state="up")
            frames = loop.settle()
        assert frames["conserved"]
        assert frames["undrained"] == frames["tx"] == 0
        assert memory[completed] == 100


class TestStatistics:
    """The line for people."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="drop", interval=0.05)

    def test_statistics_come_each_interval_in_their_form(
        self, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        send(1000)
        line = re.compile(r"^AF_XDP RX: 1000 pkts \(\d+ pps\) 60 KB \(\d+\.\d Mbit/s\)$", re.M)
        forwarder.wait_for(lambda: bool(line.search(forwarder.stdout)), 5, "a line with all packets")

    def test_a_forwarder_that_was_stopped_for_longer_goes_on(
        self, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        os.kill(forwarder.pid, signal.SIGSTOP)
        send(10)
        time.sleep(0.2)  # past the time-out of its wait: the rule is about what happens then
        os.kill(forwarder.pid, signal.SIGCONT)
        forwarder.wait_for(lambda: forwarder.counters()["dropped"] == 10, 5, "10 packets")
        with pytest.raises(ProcessError, match="still running"):
            forwarder.wait(0.2)


@pytest.mark.requires("live_frames")
@pytest.mark.parametrize("echo", [False, True], ids=["drop", "echo"])
def test_end_under_load_conserves_every_frame(
    topology: Topology, program: Program, attachment: object, run_id: str, echo: bool
) -> None:
    # A batch larger than what the RX ring holds: mostly something is queued and not yet sent at the end.
    action = "echo" if echo else "drop"
    spec = ForwarderSpec("dut0", action=action, batch=1000, rx_size=256, check_owners=True, interval=0)
    map_fd = program.map_fd("xsks_map")
    with ForwarderProcess(spec, namespace=topology["dut"], run=run_id, xskmap_fd=map_fd) as forwarder:
        child = os.fork()
        if not child:
            try:
                flood(topology["gen"], "gen0", HEADERS + b"." * 18, 100_000_000)
            finally:
                os._exit(0)
        try:
            forwarder.wait_for(lambda: forwarder.counters()["rx_packets"] > 20_000, 5, "load")
            report = forwarder.stop()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    counters, frames = check_books(report), report["frames"]
    assert frames["tx"] == frames["completion"] == frames["kernel_transmit"] == frames["undrained"] == 0
    assert counters["syscalls"] <= 0.05 * counters["rx_packets"]


def test_killed_forwarder_leaves_the_queue_free_for_the_next(
    topology: Topology, program: Program, attachment: object, run_id: str, send: Callable[[int], None]
) -> None:
    spec, map_fd = ForwarderSpec("dut0", action="drop"), program.map_fd("xsks_map")
    for _ in range(5):
        with ForwarderProcess(spec, namespace=topology["dut"], run=run_id, xskmap_fd=map_fd) as forwarder:
            send(10)
            counted = forwarder.counters
            forwarder.wait_for(lambda: counted()["rx_packets"] == 10, 5, "10 packets")  # noqa: B023 (called here)
            forwarder.kill()
