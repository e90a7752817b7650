# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict function at C speed finds before each packet what the driver knows of it, and when it came."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from forwarder import metadata
from forwarder.loop import BatchLoop
from forwarder.metadata import HASH, RX_METADATA, VLAN
from forwarder.spec import ForwarderSpec
from forwarder.stats import Counters
from forwarder.verdict import INCLUDE
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import datagram
from labs.harness.patience import patient
from labs.harness.topology import PAIR, Topology, TopologySpec
from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec

pytestmark = pytest.mark.requires("rx_metadata")
SOURCES = Path(__file__).parent / "src"
PORTS = (5000, 5001, 5002, 5003)
PACKETS = 60
KEPT = np.dtype([("packets", "<u8"), ("of", [("found", RX_METADATA), ("port", "<u8")], 64)])
SLACK_NS = 1_000_000  # the kernel reads this clock without a lock, and may be a little off (timekeeping.c)
FORMS = [
    pytest.param("symbol", marks=pytest.mark.lab),
    pytest.param("cffi", marks=pytest.mark.lab),
    pytest.param("numba", marks=pytest.mark.system),  # its compiler is no quick lab
]


@pytest.fixture
def topology_spec() -> TopologySpec:
    return PAIR.with_links(offloads=True)  # else the tag would be among the frame's bytes


@pytest.fixture
def library(tmp_path: Path) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: install gcc")
    flags = [
        "-O2",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{INCLUDE}",
        f"-I{metadata.INCLUDE}",
    ]
    path = tmp_path / "libhints.so"
    subprocess.run(["cc", *flags, "-o", path, SOURCES / "hints.c"], check=True)
    return path


@pytest.fixture
def frames() -> list[bytes]:
    return [bytes(datagram(sport=PORTS[number % len(PORTS)])) for number in range(PACKETS)]


@pytest.fixture
def gen(topology: Topology, tmp_path: Path) -> Iterator[socket.socket]:
    """Sends out of gen0, where what comes from an odd port gets a tag."""
    tag = compile_bpf(SOURCES / "tag.bpf.c", tmp_path / "tag.o")
    with topology["gen"].entered():
        for command in ("qdisc add dev gen0 clsact", f"filter add dev gen0 egress bpf da obj {tag} sec tc"):
            subprocess.run(["tc", *command.split()], check=True, capture_output=True)
    with topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("gen0", 0))
        yield raw


@pytest.fixture
def hinting(topology: Topology) -> Iterator[Program]:
    """redirect_meta on dut0."""
    with topology["dut"].entered(), Program.load(ProgramSpec("redirect_meta", bound_to="dut0")) as program:
        program.attach("dut0", "native")
        yield program


def verdict(form: str, library: Path) -> object:
    """One of the ways to give a verdict function."""
    if form == "symbol":
        return f"{library}:decide"
    if form == "cffi":
        import cffi

        ffi = cffi.FFI()
        ffi.cdef("uint32_t decide(uint8_t *data, uint32_t len, void *context);")
        return ffi.dlopen(str(library)).decide
    from labs.logic.hints_numba import decide

    return decide


@pytest.mark.parametrize("form", FORMS)
def test_function_finds_hash_tag_and_time_before_each_packet(
    topology: Topology, hinting: Program, gen: socket.socket, library: Path, frames: list[bytes], form: str
) -> None:
    kept = np.zeros(1, KEPT)
    spec = ForwarderSpec("dut0", action="verdict", check_owners=True)
    decide = verdict(form, library)
    with (
        topology["dut"].entered(),
        closing(Counters(1)) as counters,
        counters.block(0) as block,
        BatchLoop(spec, 0, block, verdict=decide, context=kept.data) as loop,
    ):
        loop.enter(hinting.map_fd("xsks_map"))
        before = time.clock_gettime_ns(time.CLOCK_TAI)
        for frame in frames:
            gen.send(frame)
        deadline = time.monotonic() + patient(5)
        while kept["packets"][0] < PACKETS and time.monotonic() < deadline:
            loop.run(10)
        after = time.clock_gettime_ns(time.CLOCK_TAI)
        assert loop.settle()["conserved"]
        total = counters.total()
    assert kept["packets"][0] == PACKETS
    seen = kept["of"][0][:PACKETS]
    found = seen["found"]
    assert seen["port"].tolist() == [PORTS[number % len(PORTS)] for number in range(PACKETS)]
    told = {
        port: set(found[["vlan_proto", "vlan_tci", "timestamp", "valid"]][seen["port"] == port].tolist())
        for port in PORTS
    }
    # No device here stamps the time.
    assert told == {
        port: {(0x8100, 0x2000 | port & 0xFF, 0, HASH | VLAN) if port & 1 else (0, 0, 0, HASH)}
        for port in PORTS
    }
    hashes = {port: set(found["hash"][seen["port"] == port].tolist()) for port in PORTS}
    assert [len(of_flow) for of_flow in hashes.values()] == [1] * len(PORTS)
    assert len(set.union(*hashes.values())) == len(PORTS)
    arrived = found["arrived"].tolist()
    assert before - SLACK_NS <= min(arrived) <= max(arrived) <= after + SLACK_NS
    assert all(earlier - SLACK_NS <= later for earlier, later in itertools.pairwise(arrived))
    assert (total["dropped"], total["tx_packets"]) == (PACKETS // 2, PACKETS // 2)


@pytest.mark.lab
def test_forwarder_sends_back_by_what_the_driver_knows(
    topology: Topology, hinting: Program, gen: socket.socket, library: Path, frames: list[bytes], run_id: str
) -> None:
    spec = ForwarderSpec(
        "dut0",
        action="verdict",
        verdict=f"{library}:decide",
        verdict_context=str(KEPT.itemsize),
        check_owners=True,
    )
    with ForwarderProcess(
        spec, namespace=topology["dut"], run=run_id, xskmap_fd=hinting.map_fd("xsks_map")
    ) as forwarder:
        for frame in frames:
            gen.send(frame)
        forwarder.wait_for(lambda: forwarder.counters()["rx_packets"] == PACKETS, 5, "all packets")
        counters = forwarder.stop()["counters"]
    fates = {name: counters[name] for name in ("dropped", "tx_packets", "not_matched", "callbacks")}
    assert fates == {"dropped": 30, "tx_packets": 30, "not_matched": 0, "callbacks": 0}
