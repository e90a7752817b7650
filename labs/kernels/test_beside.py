# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several XDP programs on one device, and xdp-tools beside ours: not where trampolines are refused."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import SOURCE_PORT, datagram
from labs.harness.patience import patient
from labs.harness.process import Process
from labs.harness.receiver import ReceivedReport, Receiver
from labs.harness.topology import Topology
from labs.harness.traffic import Traffic, TrafficPlan
from xdp.pyxdp import kernel, xdplink
from xdp.xskmap import Reader
from xdp.xskmap_find import xskmaps_of_device

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.requires("dispatcher", "fentry")]
SENT = 100
PLAN = TrafficPlan(datagram(), count=SENT, rate_pps=500, sequence=True)


def xdp_loader(*words: str) -> str:
    """Runs xdp-loader in the calling thread's namespace."""
    if shutil.which("xdp-loader") is None:
        pytest.skip("xdp-loader is not installed: it is in Debian's xdp-tools")
    done = subprocess.run(
        ["xdp-loader", *words], capture_output=True, text=True, timeout=patient(30), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def dispatched(topology: Topology) -> Iterator[Topology]:
    """On dut0 libxdp's dispatcher with two programs: one that passes all, then one that redirects."""
    with topology["dut"].entered():
        try:
            for name in ("xdp_pass", "redirect_udp"):
                built = str(files("xdp") / "objects" / f"{name}.bpf.o")
                xdp_loader("load", "-m", "native", "dut0", built)
            yield topology
        finally:
            with contextlib.suppress(AssertionError):
                xdp_loader("unload", "dut0", "--all")


@pytest.fixture
def echoing(dispatched: Topology) -> Iterator[ForwarderProcess]:
    """Our forwarder in the XSKMAP of the second program, which is found by the device's name alone."""
    with dispatched["dut"].entered():
        (number,) = xskmaps_of_device("dut0")
    spec = ForwarderSpec("dut0", action="echo", check_owners=True)
    with (
        kernel.map_by_id(number) as fd,
        ForwarderProcess(spec, namespace=dispatched["dut"], run=dispatched.run, xskmap_fd=fd) as process,
    ):
        yield process


def exchanged(topology: Topology) -> ReceivedReport:
    """Sends and receives."""
    plan = Traffic(PLAN)
    with Receiver(topology["gen"], SOURCE_PORT) as receiver:
        sent = plan.send(topology["gen"], "gen0")
        return receiver.drain(sent.sent, payload=plan.payload)


def test_two_programs_share_a_device_and_the_second_ones_xskmap_is_found_and_feeds_a_forwarder(
    dispatched: Topology, echoing: ForwarderProcess
) -> None:
    with dispatched["dut"].entered():
        status = xdp_loader("status", "dut0")
        attached = xdplink.query(dispatched["dut"].interface_index("dut0"))
        (number,) = xskmaps_of_device("dut0")
    assert "xdp_dispatcher" in status
    with kernel.prog_by_id(attached.prog_id) as fd:
        assert kernel.prog_info(fd).name == "xdp_dispatcher"
    assert exchanged(dispatched).complete
    with kernel.map_by_id(number) as fd, Reader(fd=fd) as reader:
        assert [slot.index for slot in reader.read().occupied] == [0]
    counters = echoing.counters()
    assert counters["rx_packets"] == counters["tx_packets"] == SENT


def test_xdpdump_sees_what_goes_in_and_what_was_decided(
    dispatched: Topology, echoing: ForwarderProcess, tmp_path: Path
) -> None:
    if shutil.which("xdpdump") is None:
        pytest.skip("xdpdump is not installed: it is in Debian's xdp-tools")
    words = ["stdbuf", "-oL", "xdpdump", "-i", "dut0", "-p", "redirect_udp", "--rx-capture", "exit", "-x"]
    with Process(words, run=dispatched.run, namespace=dispatched["dut"]) as dump:
        dump.wait_for(lambda: "listening on" in dump.stdout + dump.stderr, 5, "word that it listens")
        assert exchanged(dispatched).complete
        dump.wait_for(lambda: dump.stdout.count("[REDIRECT]") >= SENT, 10, "last packet")
    assert dump.stdout.count("[REDIRECT]") == SENT
