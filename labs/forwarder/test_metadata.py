# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the driver knows of a packet reaches a Python function: a hash per flow, and which fields are true."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forwarder.loop import BatchLoop
from forwarder.metadata import HASH, VLAN
from forwarder.spec import ForwarderSpec
from forwarder.stats import Counters
from labs.harness.topology import PAIR, Topology, TopologySpec
from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import KernelError

from .conftest import HEADERS

pytestmark = [pytest.mark.lab, pytest.mark.requires("rx_metadata")]
PUSH = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int push(struct __sk_buff *skb)
{
	return bpf_skb_vlan_push(skb, 0x0081 /* 802.1Q, in network order */, 0x2005) ? 2 : 0;
}

char _license[] SEC("license") = "GPL";
"""


def flow(number: int) -> bytes:
    """A frame of the flow with this source port."""
    frame = bytearray(HEADERS.ljust(60, b"."))
    frame[34:36] = (5000 + number).to_bytes(2, "big")
    return bytes(frame)


@pytest.fixture
def received(topology: Topology) -> Iterator[Callable[[Sequence[bytes]], list[tuple[bytes, Any]]]]:
    """Sends frames out of gen0; gives what a function at dut0 saw: each frame, with its metadata by name."""
    spec = ForwarderSpec("dut0", action="python", python="m:f", metadata=True)
    seen: list[tuple[bytes, Any]] = []

    def note(packets: Any, frames: Any, metadata: Any) -> None:
        for packet, one in zip(packets, metadata, strict=True):
            row, column = divmod(int(packet["addr"]), frames.shape[1])
            data = bytes(frames[row, column : column + packet["len"]])
            seen.append((data, {name: int(one[name]) for name in one.dtype.names}))

    with (
        topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as gen,
        topology["dut"].entered(),
        closing(Counters(1)) as counters,
        Program.load(ProgramSpec("redirect_meta", bound_to="dut0")) as program,
        counters.block(0) as block,
        BatchLoop(spec, 0, block, function=note) as loop,
    ):
        gen.bind(("gen0", 0))
        program.attach("dut0", "native")
        loop.enter(program.map_fd("xsks_map"))

        def run(frames: Sequence[bytes]) -> list[tuple[bytes, Any]]:
            for frame in frames:
                gen.send(frame)
            for _ in range(50):
                if len(seen) == len(frames):
                    break
                loop.run(100)
            assert program.counters() == {"redirected": len(frames), "no_socket": 0, "no_room": 0}
            return seen

        yield run


def test_each_packet_comes_with_the_hash_of_its_flow(
    received: Callable[[Sequence[bytes]], list[tuple[bytes, Any]]],
) -> None:
    sent = [flow(number % 3) for number in range(60)]
    seen = received(sent)
    assert [frame for frame, _ in seen] == sent
    hashes = {port: {one["hash"] for frame, one in seen if frame == port} for port in sent}
    assert [len(found) for found in hashes.values()] == [1, 1, 1]
    assert len(set.union(*hashes.values())) == 3
    # veth makes a hash; no device here stamps the time, and no frame has a tag that a device took off.
    assert {one["valid"] for _, one in seen} == {HASH}
    assert {one["timestamp"] for _, one in seen} == {0}
    assert {one["vlan_tci"] for _, one in seen} == {0}


class TestVlan:
    """A tag that travels beside the packet, as behind a device that takes tags off."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return replace(PAIR, links=tuple(replace(link, offloads=True) for link in PAIR.links))

    def test_the_tag_is_told(
        self,
        topology: Topology,
        received: Callable[[Sequence[bytes]], list[tuple[bytes, Any]]],
        tmp_path: Path,
    ) -> None:
        source = tmp_path / "push.bpf.c"
        source.write_text(PUSH)
        loaded = f"bpf da obj {compile_bpf(source)} sec tc"
        with topology["gen"].entered():
            for command in ("qdisc add dev gen0 clsact", f"filter add dev gen0 egress {loaded}"):
                subprocess.run(["tc", *command.split()], check=True, capture_output=True)
        ((frame, one),) = received([flow(0)])
        assert frame == flow(0)  # the tag is none of its bytes
        assert (one["vlan_proto"], one["vlan_tci"]) == (0x8100, 0x2005)
        assert one["valid"] == HASH | VLAN


def test_program_that_asks_the_driver_is_for_one_device_and_native_mode(topology: Topology) -> None:
    with pytest.raises(KernelError, match="device-bound"):
        Program.load(ProgramSpec("redirect_meta"))
    with topology["dut"].entered(), Program.load(ProgramSpec("redirect_meta", bound_to="dut0")) as program:
        with pytest.raises(KernelError, match="generic mode"):
            program.attach("dut0", "generic")
        with pytest.raises(KernelError):
            program.attach("lo", "generic")
