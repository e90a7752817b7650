# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two interfaces of one process: a TAP stands for each of them, and one file holds what came by both."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from scapy.utils import PcapNgReader

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT
from labs.harness.patience import patient
from labs.harness.topology import CHAIN, Topology
from xdp.program import Program, ProgramSpec

pytestmark = pytest.mark.lab
ROUNDS = 100


def test_each_interface_has_its_tap_and_its_name_in_the_file(
    topology: Topology, run_id: str, program: Program, tmp_path: Path
) -> None:
    path = tmp_path / "both.pcapng"
    spec = ForwarderSpec(
        "dut0",
        also=("dut1",),
        action="host",
        host_tap="host0",
        also_host_tap=("host1",),
        pcapng=str(path),
        check_owners=True,
    )
    with Program.load(ProgramSpec()) as other:
        with topology["dut"].entered():
            program.attach("dut0")
            other.attach("dut1")
        with (
            ForwarderProcess(
                spec,
                namespace=topology["dut"],
                run=run_id,
                xskmap_fd=program.map_fd("xsks_map"),
                also_xskmap_fds=(other.map_fd("xsks_map"),),
            ) as forwarder,
            topology["gen"].socket(socket.AF_INET, socket.SOCK_DGRAM) as gen,
            topology["sink"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
            topology["dut"].socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        ):
            server.bind(("", PORT))
            server.settimeout(patient(5))
            for number in range(ROUNDS):
                for sender, near, far in ((gen, "dut0", "gen0"), (sink, "dut1", "sink0")):
                    said = f"{near} {number}".encode()
                    sender.sendto(said, (CHAIN.end(near).ip, PORT))
                    heard, (address, _port) = server.recvfrom(100)
                    assert (heard, address) == (said, CHAIN.end(far).ip)
            with topology["dut"].netlink() as route:
                taps = {
                    name: route.get_links(ifname=name)[0].get_attr("IFLA_STATS64")["rx_packets"]
                    for name in ("host0", "host1")
                }
            report = forwarder.stop()
    assert taps == {"host0": ROUNDS, "host1": ROUNDS}
    each = {one["interface"]: one["counters"]["host_packets"] for one in report["per_queue"]}
    assert each == {"dut0": ROUNDS, "dut1": ROUNDS}
    assert report["frames"]["conserved"]
    with PcapNgReader(str(path)) as reader:
        captured = [(packet.sniffed_on, bytes(packet["UDP"].payload)) for packet in reader]
    for name in ("dut0", "dut1"):
        expected = [f"{name} {number}".encode() for number in range(ROUNDS)]
        assert [data for on, data in captured if on == name] == expected
    assert len(captured) == 2 * ROUNDS
