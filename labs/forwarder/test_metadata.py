# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the driver knows of a packet reaches a Python function: a hash per flow, and which fields are true."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from forwarder.loop import BatchLoop
from forwarder.metadata import HASH, TIMESTAMP, VLAN
from forwarder.spec import ForwarderSpec
from forwarder.stats import Counters
from labs.harness.topology import Topology
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import KernelError

from .conftest import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

pytestmark = pytest.mark.lab


def flow(number: int) -> bytes:
    """A frame of the flow with this source port."""
    frame = bytearray(HEADERS.ljust(60, b"."))
    frame[34:36] = (5000 + number).to_bytes(2, "big")
    return bytes(frame)


def test_each_packet_comes_with_the_hash_of_its_flow(
    topology: Topology, wire: Callable[[str, str], socket]
) -> None:
    seen: list[tuple[bytes, int, int]] = []

    def note(packets: Any, frames: Any, metadata: Any) -> None:
        rows, columns = packets["addr"] // 2048, packets["addr"] % 2048
        for row, column, one in zip(rows, columns, metadata, strict=True):
            seen.append((bytes(frames[row, column + 34 : column + 36]), int(one["hash"]), int(one["valid"])))

    spec = ForwarderSpec("dut0", action="python", python="m:f", metadata=True)
    with (
        topology["dut"].entered(),
        closing(Counters(1)) as counters,
        Program.load(ProgramSpec("redirect_meta", bound_to="dut0")) as program,
        counters.block(0) as block,
        BatchLoop(spec, 0, block, function=note) as loop,
    ):
        program.attach("dut0", "native")
        loop.enter(program.map_fd("xsks_map"))
        gen = wire("gen", "gen0")
        for number in range(60):
            gen.send(flow(number % 3))
        for _ in range(50):
            if len(seen) == 60:
                break
            loop.run(100)
        assert program.counters() == {"redirected": 60, "no_socket": 0, "no_room": 0}
    assert [port for port, _, _ in seen] == [flow(number % 3)[34:36] for number in range(60)]
    hashes = {port: {found for other, found, _ in seen if other == port} for port, _, _ in seen}
    assert [len(found) for found in hashes.values()] == [1, 1, 1]
    assert len(set.union(*hashes.values())) == 3
    # veth has a time stamp's place and a hash; no frame here has a tag that a device took off.
    assert {valid for _, _, valid in seen} == {TIMESTAMP | HASH}
    assert not any(valid & VLAN for _, _, valid in seen)


def test_program_that_asks_the_driver_is_for_one_device_and_native_mode(topology: Topology) -> None:
    with pytest.raises(KernelError, match="device-bound"):
        Program.load(ProgramSpec("redirect_meta"))
    with topology["dut"].entered(), Program.load(ProgramSpec("redirect_meta", bound_to="dut0")) as program:
        with pytest.raises(KernelError, match="generic mode"):
            program.attach("dut0", "generic")
        with pytest.raises(KernelError):
            program.attach("lo", "generic")
