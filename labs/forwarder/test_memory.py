# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Packets of several frames, frames anywhere, one UMEM for all queues, both ways: on the kernel itself."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from forwarder.binding import bind
from forwarder.loop import BatchLoop
from forwarder.spec import ForwarderSpec
from forwarder.stats import Counters
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.topology import CHAIN, PAIR, Topology, TopologySpec
from xdp.program import Program, ProgramSpec

from .conftest import check_books, datagram

pytestmark = pytest.mark.lab
JUMBO = 9000


def with_mtu(spec: TopologySpec, mtu: int) -> TopologySpec:
    return dataclasses.replace(spec, links=tuple(dataclasses.replace(link, mtu=mtu) for link in spec.links))


@pytest.fixture
def two_maps(topology: Topology, program: Program) -> Iterator[tuple[int, int]]:
    """The XSKMAPs of a program on dut0 and of another on dut1."""
    with Program.load(ProgramSpec()) as other:
        with topology["dut"].entered():
            program.attach("dut0")
            other.attach("dut1")
        yield program.map_fd("xsks_map"), other.map_fd("xsks_map")


@pytest.mark.requires("xdp_frags", "xsk_frags")
class TestMultiBuffer:
    """Frames of 9,000 bytes through an echo whose UMEM has frames of 2,048."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return with_mtu(PAIR, JUMBO)

    @pytest.fixture
    def program_spec(self) -> ProgramSpec:
        return ProgramSpec(frags=True)

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", multi_buffer=True, check_owners=True)

    def test_large_frames_come_back_whole_and_small_ones_between_them(
        self, forwarder: ForwarderProcess, wire: Callable[[str, str], socket.socket]
    ) -> None:
        gen = wire("gen", "gen0")
        sizes = (JUMBO, 60, 1514, JUMBO + 14, 1793, 3584, 5000)
        for number in range(70):
            sent = datagram(sizes[number % len(sizes)], number)
            gen.send(sent)
            back = gen.recv(65536)
            assert back[:12] == sent[6:12] + sent[:6]
            assert back[42:] == sent[42:]
        assert forwarder.sockets[0]["multi_buffer"] is True
        counters = check_books(forwarder.stop())
        assert counters["rx_packets"] == counters["tx_packets"] == 70
        per_round = sum(-(-size // 1792) for size in sizes)  # frames of 2,048 bytes less XDP's headroom
        assert counters["rx_descriptors"] == counters["tx_descriptors"] == 10 * per_round


class TestUnaligned:
    """Frames of 3,000 bytes, which no page is a multiple of."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec(
            "dut0", action="echo", unaligned=True, frame_size=3000, headroom=100, check_owners=True
        )

    def test_frames_of_any_size_hold_packets(
        self, forwarder: ForwarderProcess, wire: Callable[[str, str], socket.socket]
    ) -> None:
        gen = wire("gen", "gen0")
        for number in range(3000 // 60):
            sent = datagram(60 + number * 29, number)
            gen.send(sent)
            assert gen.recv(4096)[42:] == sent[42:]
        counters = check_books(forwarder.stop())
        assert (counters["rx_packets"], counters["rx_invalid"], counters["tx_packets"]) == (50, 0, 50)


class TestSharedUmem:
    """Two queues, two interfaces, one UMEM: four sockets with rings of their own."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        links = tuple(dataclasses.replace(link, queues=2) for link in CHAIN.links)
        return dataclasses.replace(CHAIN, links=links)

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec(
            "dut0", queues=(0, 1), action="forward", out="dut1", shared_umem=True, check_owners=True
        )

    def test_each_queue_forwards_in_frames_of_its_own(
        self, forwarder: ForwarderProcess, wire: Callable[[str, str], socket.socket]
    ) -> None:
        gen, sink = wire("gen", "gen0"), wire("sink", "sink0")
        for number in range(200):
            sent = bytearray(datagram(100, number))
            sent[34:36] = (5000 + number).to_bytes(2, "big")  # a flow each: they spread over both queues
            gen.send(sent)
            assert sink.recv(4096) == sent
        assert [entry["shared_umem"] for entry in forwarder.sockets] == [True] * 4
        report = forwarder.stop()
        assert check_books(report)["tx_packets"] == 200
        assert [entry["frames"]["frames"] for entry in report["per_queue"]] == [4096, 4096]
        assert all(entry["counters"]["tx_packets"] for entry in report["per_queue"])

    def test_no_frame_is_in_two_parts(self, topology: Topology, forwarder_spec: ForwarderSpec) -> None:
        with topology["dut"].entered(), ExitStack() as undo:
            first, second = bind(forwarder_spec, (0, 1), undo)
            assert first.umem is second.umem
            assert first.first + first.frames * 2048 <= second.first
            assert second.first + second.frames * 2048 <= len(second.umem)


class TestBothWays:
    """A bridge of two ports that learns nothing."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return CHAIN

    def test_each_side_hears_the_other(
        self,
        topology: Topology,
        run_id: str,
        two_maps: tuple[int, int],
        wire: Callable[[str, str], socket.socket],
    ) -> None:
        spec = ForwarderSpec(
            "dut0", action="forward", out="dut1", both_ways=True, check_owners=True, interval=0
        )
        first, second = two_maps
        with ForwarderProcess(
            spec, namespace=topology["dut"], run=run_id, xskmap_fd=first, out_xskmap_fd=second
        ) as forwarder:
            gen, sink = wire("gen", "gen0"), wire("sink", "sink0")
            for number in range(100):
                for there, here in ((gen, sink), (sink, gen)):
                    there.send(datagram(64, number))
                    assert here.recv(4096) == datagram(64, number)
            counters = check_books(forwarder.stop())
        assert (counters["rx_packets"], counters["tx_packets"]) == (200, 200)


class TestSeveralInterfaces:
    """Two interfaces that have nothing to do with each other in one process, a thread each, one UMEM."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return CHAIN

    def test_each_gets_its_own_back(
        self,
        topology: Topology,
        run_id: str,
        two_maps: tuple[int, int],
        wire: Callable[[str, str], socket.socket],
    ) -> None:
        spec = ForwarderSpec(
            "dut0", also=("dut1",), action="echo", shared_umem=True, check_owners=True, interval=0
        )
        first, second = two_maps
        with ForwarderProcess(
            spec, namespace=topology["dut"], run=run_id, xskmap_fd=first, also_xskmap_fds=(second,)
        ) as forwarder:
            gen, sink = wire("gen", "gen0"), wire("sink", "sink0")
            for number in range(100):
                for peer in (gen, sink, sink):
                    sent = datagram(64, number)
                    peer.send(sent)
                    assert peer.recv(4096)[42:] == sent[42:]
            report = forwarder.stop()
        check_books(report)
        each = {one["interface"]: one["counters"]["tx_packets"] for one in report["per_queue"]}
        assert each == {"dut0": 100, "dut1": 200}


class TestAnyTime:
    """The library in this process: where the frames are while the loop runs."""

    def test_running_loop_says_where_its_frames_are(
        self, topology: Topology, program: Program, send: Callable[[int], None]
    ) -> None:
        import threading

        with topology["dut"].entered(), closing(Counters(1)) as counters:
            program.attach("dut0")
            with (
                counters.block(0) as block,
                BatchLoop(ForwarderSpec("dut0", action="echo"), 0, block) as loop,
            ):
                loop.enter(program.map_fd("xsks_map"))
                thread = threading.Thread(target=loop.run, args=(60_000,))
                thread.start()
                audits: list[Any] = []
                for _ in range(20):
                    send(100)
                    audits.append(loop.audit())
                loop.stop()
                thread.join()
                audits.append(loop.settle())
            assert counters.total()["rx_packets"] > 0
        places = ("pool", "fill", "rx", "tx", "completion", "kernel_receive", "kernel_transmit")
        for audit in audits:
            assert audit["conserved"], audit
            assert sum(audit[place] for place in places) == audit["frames"] == 4096
