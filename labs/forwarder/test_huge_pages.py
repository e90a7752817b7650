# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A UMEM on pages of 2 MiB, as the kernel's own account of the process's memory shows it."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.huge_pages import HugePages, reserved_pages
from labs.harness.process import NotReadyError
from labs.harness.topology import CHAIN, PAIR, Topology, TopologySpec
from xdp.pyxdp.errors import InputError

from .conftest import check_books, datagram

pytestmark = pytest.mark.lab
HUGE = 2 << 20
RESERVED = 16
PACKETS = 4500


@pytest.fixture
def pages() -> Iterator[HugePages]:
    """Huge pages enough for any forwarder here."""
    try:
        reserved = HugePages(RESERVED)
    except InputError as error:
        pytest.skip(str(error))
    with reserved:
        yield reserved


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A mapping on huge pages: its bytes, those of a page of it, and those in memory."""

    size: int
    page: int
    present: int


def huge_mappings(pid: int) -> list[Mapping]:
    """The process's mappings on pages of another size than the processor's own, by /proc/PID/smaps."""
    found = []
    of: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            of[key] = int(value.split()[0]) << 10
        if key == "VmFlags" and of["KernelPageSize"] != os.sysconf("SC_PAGE_SIZE"):
            assert "ht" in value.split()
            found.append(Mapping(of["Size"], of["KernelPageSize"], of["Private_Hugetlb"]))
    return found


ONE = ForwarderSpec("dut0", action="echo", hugepages=True, check_owners=True)
BOTH = dataclasses.replace(ONE, action="forward", out="dut1", queues=(0, 1), shared_umem=True)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A way to lay frames into memory: the bytes of each mapping, and the frames of each queue."""

    topology: TopologySpec
    forwarder: ForwarderSpec
    mappings: tuple[int, ...]
    frames: int = 4096


# 4,096 frames of 3,000 bytes need a large part of the sixth page: what is left of it has room for 98 more.
LAYOUTS = {
    "aligned": Layout(PAIR, ONE, (8 << 20,)),
    "unaligned": Layout(PAIR, dataclasses.replace(ONE, unaligned=True, frame_size=3000), (12 << 20,), 4194),
    "two UMEMs": Layout(CHAIN, dataclasses.replace(ONE, also=("dut1",)), (8 << 20, 8 << 20)),
    "shared": Layout(CHAIN.with_links(queues=2), BOTH, (16 << 20,)),
    "shared, unaligned": Layout(
        CHAIN.with_links(queues=2),
        dataclasses.replace(BOTH, unaligned=True, frame_size=3000),
        (24 << 20,),
        4194,
    ),
}


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
class TestGranted:
    """Each way to lay frames into memory."""

    @pytest.fixture
    def topology_spec(self, layout: Layout) -> TopologySpec:
        return layout.topology

    @pytest.fixture
    def forwarder_spec(self, layout: Layout) -> ForwarderSpec:
        return layout.forwarder

    def test_packets_go_through_frames_on_huge_pages(
        self, layout: Layout, forwarder: ForwarderProcess, wire: Callable[[str, str], socket.socket]
    ) -> None:
        assert huge_mappings(forwarder.pid) == [Mapping(size, HUGE, size) for size in layout.mappings]
        assert {entry["page_size"] for entry in forwarder.sockets} == {HUGE}
        gen = wire("gen", "gen0")
        far = wire("sink", "sink0") if layout.forwarder.out else gen
        # More than a fill ring holds: among its frames are some across the edge of a page.
        for number in range(PACKETS):
            sent = bytearray(datagram(60 + number % 1400, number))
            sent[34:36] = (5000 + number % 100).to_bytes(2, "big")  # flows, so that each queue has some
            gen.send(sent)
            assert far.recv(4096)[42:] == sent[42:]
        report = forwarder.stop()
        counters = check_books(report)
        assert (counters["rx_packets"], counters["tx_packets"]) == (PACKETS, PACKETS)
        assert counters["rx_invalid"] == 0
        assert {entry["frames"]["frames"] for entry in report["per_queue"]} == {layout.frames}
        if not layout.forwarder.also:
            assert all(entry["counters"]["rx_packets"] for entry in report["per_queue"])


def test_too_few_are_one_line_with_figures(topology: Topology, run_id: str, pages: HugePages) -> None:
    spec = dataclasses.replace(ONE, frames=1 << 20)
    there = reserved_pages()
    with pytest.raises(
        NotReadyError, match=rf"needs 1024 pages of 2 MiB and \d+ of {there} are free"
    ) as said:
        ForwarderProcess(spec, namespace=topology["dut"], run=run_id)
    assert "\n" not in str(said.value)


def test_without_them_frames_lie_on_ordinary_pages(forwarder: ForwarderProcess) -> None:
    assert huge_mappings(forwarder.pid) == []
    assert {entry["page_size"] for entry in forwarder.sockets} == {os.sysconf("SC_PAGE_SIZE")}


HOLD = """
import sys
from labs.harness.huge_pages import HugePages
with HugePages(2):
    print("reserved", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", [None, signal.SIGKILL], ids=["closed", "killed"])
def test_what_was_reserved_is_given_back(
    pages: HugePages, end: signal.Signals | None, wait_until: Callable[[Callable[[], object], str], None]
) -> None:
    pages.close()  # only to know that they can be had: the other process waits for its turn
    before = reserved_pages()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"reserved\n"
        assert reserved_pages() == before + 2
        if end is not None:
            holder.send_signal(end)
        holder.communicate()
    wait_until(lambda: reserved_pages() == before, "pages given back")
