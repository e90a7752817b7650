# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pcapng file of what AF_XDP took, which no other capture sees: complete, in order, read by others."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.packet import Packet
from scapy.utils import PcapNgReader

from forwarder.examples.sampler import EVERY
from forwarder.spec import ForwarderSpec
from labs.harness.flood import flood
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT, SOURCE_PORT, datagram
from labs.harness.process import ProcessError
from labs.harness.receiver import Receiver
from labs.harness.topology import PAIR, Topology, TopologySpec
from labs.harness.traffic import Traffic, TrafficReport
from labs.harness.traffic.pcapng import PcapNg
from labs.logic.conftest import FORMS, PACKETS, plan, to_sink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "all.pcapng"


def read(path: Path) -> list[bytes]:
    """The packets by two readers, one of them strict, which agree."""
    strict = [data for data, _original, _link in PcapNg(path, path.read_bytes()).packets()]
    with PcapNgReader(str(path)) as reader:
        assert [bytes(packet) for packet in reader] == strict
    return strict


def arrived(packets: list[Packet], traffic: Callable[..., TrafficReport], at: Receiver) -> Traffic:
    """Sends them in turn, sees all of them arrive, and gives the plan."""
    traffic_plan = plan(packets)
    traffic(traffic_plan)
    assert at.drain(PACKETS, payload=traffic_plan.payload).complete
    return traffic_plan


@pytest.mark.lab
class TestAll:
    """Every packet, as it was received, though it is rewritten and sent back."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR

    @pytest.fixture
    def forwarder_spec(self, path: Path) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", pcapng=str(path), check_owners=True)

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_file_holds_each_packet_as_it_was_received(
        self,
        path: Path,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        began = time.time()
        traffic_plan = arrived([datagram()], traffic, receiver("gen", SOURCE_PORT))
        size = head_bytes(path) + sum(32 + -(-len(traffic_plan.frame(n)) // 4) * 4 for n in range(PACKETS))
        forwarder.wait_for(
            lambda: path.stat().st_size == size, 5, "all packets in the file, while it is written"
        )
        report = forwarder.stop()
        assert read(path) == [traffic_plan.frame(n) for n in range(PACKETS)]
        assert (report["counters"]["captured"], report["counters"]["capture_skipped"]) == (PACKETS, 0)
        assert report["pcapng"] == {"file": str(path), "bytes": path.stat().st_size, "error": ""}
        with PcapNgReader(str(path)) as reader:
            times = [float(packet.time) for packet in reader]
        assert times == sorted(times)
        assert began - 1 < times[0] <= times[-1] < time.time() + 1
        if shutil.which("capinfos"):
            counted = subprocess.run(
                ["capinfos", "-Mc", path], capture_output=True, text=True, check=True
            ).stdout
            assert f"{PACKETS}" in counted

    @pytest.mark.requires("live_frames")
    def test_flood_skips_what_the_file_is_too_slow_for_and_counts_it(
        self, path: Path, topology: Topology, forwarder: ForwarderProcess
    ) -> None:
        flood(topology["gen"], "gen0", Traffic(plan([datagram()]).plan).frame(0), 300_000)
        counters = forwarder.stop()["counters"]
        assert counters["rx_packets"] > 0
        assert counters["captured"] + counters["capture_skipped"] == counters["rx_packets"]
        assert path.stat().st_size == 92 * counters["captured"] + head_bytes(path)

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_file_that_takes_no_more_ends_the_capture_and_not_the_forwarder(
        self,
        path: Path,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        resource.prlimit(forwarder.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))  # as a full disk would
        traffic_plan = arrived([datagram()], traffic, receiver("gen", SOURCE_PORT))
        report = forwarder.stop()
        assert f"--pcapng {path}: File too large; nothing more is captured" in forwarder.stderr
        assert report["pcapng"]["error"] == "File too large"
        kept = read(path)
        assert kept == [traffic_plan.frame(n) for n in range(len(kept))]
        assert len(kept) < 50_000 // 92


def head_bytes(path: Path) -> int:
    """Of the section and its interfaces: where the first packet's block begins."""
    data, at = path.read_bytes(), 0
    while at < len(data) and int.from_bytes(data[at : at + 4], "little") != 6:
        at += int.from_bytes(data[at + 4 : at + 8], "little")
    return at


@pytest.mark.lab
def test_file_that_takes_nothing_is_refused_at_start(topology: Topology, run_id: str) -> None:
    spec = ForwarderSpec("dut0", action="drop", pcapng="/dev/full")
    with pytest.raises(ProcessError, match="--pcapng /dev/full: No space left on device"):
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id)


@pytest.mark.parametrize("form", FORMS)
class TestSampler:
    """The example: all packets go on, one of a hundred is kept, and no more than its headers."""

    @pytest.fixture
    def forwarder_spec(self, form: str, path: Path) -> ForwarderSpec:
        functions = {
            "numpy": {"action": "python", "python": "forwarder.examples.sampler:decide"},
            "numba": {
                "action": "verdict",
                "verdict": "forwarder.examples.sampler_numba:decide",
                "verdict_context": "8",
            },
        }
        return ForwarderSpec(
            "dut0",
            out="dut1",
            pcapng=str(path),
            pcapng_marked=True,
            pcapng_snap=50,
            check_owners=True,
            **functions[form],  # type: ignore[arg-type]  # strings all
        )

    @pytest.mark.usefixtures("pipeline")  # its account is checked at the end
    def test_one_of_a_hundred_is_kept_and_all_go_on(
        self,
        path: Path,
        forwarder: ForwarderProcess,
        traffic: Callable[..., TrafficReport],
        receiver: Callable[..., Receiver],
    ) -> None:
        packets = [to_sink(sport=port) for port in range(1000, 1010)]
        traffic_plan = arrived(packets, traffic, receiver("sink", PORT))
        report = forwarder.stop()
        assert read(path) == [traffic_plan.frame(n)[:50] for n in range(0, PACKETS, EVERY)]
        assert report["counters"]["captured"] == PACKETS // EVERY
