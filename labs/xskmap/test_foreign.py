# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sockets of a plain C program that knows nothing of us, in our XSKMAP and in one that libxdp made."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs.compiler import compile_c
from labs.harness.netns import NetNs
from labs.harness.process import Process
from labs.harness.topology import PAIR, Topology
from labs.xskmap.station import Station, until
from xdp.xskmap import Reader, SocketInfo, read_xskmap
from xdp.xskmap_find import xskmaps_of_device

pytestmark = pytest.mark.lab
SOURCE = Path(__file__).with_name("src") / "foreign.c"


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C program, compiled as its author would."""
    return compile_c(SOURCE, tmp_path_factory.mktemp("foreign") / "foreign")


def start(binary: Path, namespace: NetNs, map_fd: int = -1) -> Process:
    return Process(
        [str(binary), "dut0", "0", str(map_fd)],
        run="foreign",
        namespace=namespace,
        ready_option="--ready-fd",
        pass_fds=[map_fd] if map_fd >= 0 else [],
    )


def socket_inodes(pid: int) -> list[int]:
    """The AF_XDP sockets of a process, as /proc shows them."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return [int(link[8:-1]) for link in links if link.startswith("socket:[")]


def check(found: SocketInfo, process: Process) -> None:
    (owner,) = found.owners
    assert (owner.pid, owner.name) == (process.pid, "foreign")
    assert owner.command.startswith(process.argv[0])
    assert found.inode in socket_inodes(process.pid)
    assert (found.device, found.queue, found.state, found.zero_copy) == ("dut0", 0, "bound", False)
    assert found.uses_need_wakeup is False
    rings = [ring and (ring.level, ring.size) for ring in (found.rx, found.tx, found.fill, found.completion)]
    assert rings == [(0, 1024), (0, 256), (100, 2048), (0, 512)]
    assert found.umem is not None
    assert (found.umem.size, found.umem.chunk_size, found.umem.headroom) == (512 * 4096, 4096, 128)


def test_a_foreign_program_in_our_map_is_read_in_full(station: Station, binary: Path) -> None:
    with start(binary, station.dut, station.map_fd) as process:
        xskmap = read_xskmap(map_id=station.map_id)
        assert [slot.index for slot in xskmap.occupied] == [0]
        check(xskmap.sockets[0], process)
        station.send(3)

        def received() -> int:
            ring = read_xskmap(map_id=station.map_id).sockets[0].rx
            return ring.level if ring else -1

        until(received, lambda level: level == 3, "3 packets in the foreign program's RX ring")


def test_a_killed_process_leaves_its_slot(station: Station, binary: Path) -> None:
    with start(binary, station.dut, station.map_fd) as process, Reader(fd=station.map_fd) as reader:
        assert [slot.index for slot in reader.read().occupied] == [0]
        process.kill()
        until(lambda: reader.read().occupied, lambda slots: slots == (), "empty map")


def test_a_foreign_program_with_libxdps_own_map_is_found_by_its_device(binary: Path) -> None:
    with Topology.build(PAIR) as topology, start(binary, topology["dut"]) as process:
        with topology["dut"].entered():
            (number,) = xskmaps_of_device("dut0")
        xskmap = read_xskmap(map_id=number)
        assert [slot.index for slot in xskmap.occupied] == [0]
        check(xskmap.sockets[0], process)
        assert [program.name for program in xskmap.programs] == ["xsk_def_prog"]
