# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is gathered is what the kernel holds: redirects by errno, sockets, devices and peers, packets."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from pathlib import Path

import pytest

from labs.harness.flood import flood
from labs.harness.topology import PAIR
from labs.harness.why.links import links, nsid
from labs.harness.why.sample import Sampler
from labs.harness.why.view import View
from labs.why.scene import OURS, Scene, until
from xdp.program import ProgramSpec
from xdp.program_facts import counting_runs, program_facts, verdict
from xdp.pyxdp.errors import InputError
from xdp.watch import XDP, Watch
from xdp.watch_events import Event
from xdp.xsk_sockets import AllSockets
from xdp.xskmap_find import all_xskmaps, is_scratch
from xdp.xskmap_model import MapEntry

pytestmark = pytest.mark.lab


def send(scene: Scene, count: int, frame: bytes = OURS) -> None:
    with scene.gen.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("gen0", 0))
        for _ in range(count):
            sender.send(frame)


class TestWatch:
    """Each redirect is counted under its device, program, slot and errno."""

    def test_redirects_and_their_errors_are_counted_exactly(self, scene: Scene) -> None:
        program = scene.attach()
        own = scene.own_socket(rx_size=8)
        scene.put(program, 0, own.fd)
        own.fill(5)
        with Watch(None, XDP) as watch:

            def mine() -> list[Event]:
                return [event for event in watch.events() if event.netns == scene.dut.inode]

            send(scene, 12)
            until(lambda: sum(event.count for event in mine()) == 12, "12 redirects")
            own.fill(20)
            send(scene, 6)  # 5 packets are in the RX ring, 8 fit
            until(lambda: sum(event.count for event in mine()) == 18, "18 redirects")
            found = mine()
        common = (2, scene.dut.inode, program.id, program.maps["xsks_map"].id, 0)
        assert set(found) == {
            Event("redirect", *common, 0, count=8),
            Event("redirect_err", *common, errno.ENOMEM, count=7),
            Event("redirect_err", *common, errno.ENOBUFS, count=3),
        }

    @pytest.mark.requires("live_frames")
    def test_frames_that_leave_by_xdp_are_counted_where_they_leave(self, scene: Scene) -> None:
        scene.attach(ProgramSpec("xdp_drop"))
        gen0 = scene.gen.interface_index("gen0")
        with Watch({"gen": scene.gen.inode}, XDP) as watch:
            flood(scene.gen, "gen0", OURS, 500)
            out = [event for event in watch.events() if event.kind == "devmap_xmit"]
        assert {(event.to_netns, event.to_ifindex, event.device) for event in out} == {
            (scene.gen.inode, gen0, "gen0")
        }
        assert sum(event.count for event in out) == 500
        assert any(event.index == 1 for event in out)

    def test_after_close_nothing_is_left(self) -> None:
        with Watch(None, XDP) as watch:
            pass
        watch.close()


class TestProgramFacts:
    """Of a program by its id alone."""

    def test_constants_counters_maps_and_runs(self, scene: Scene) -> None:
        program = scene.attach(ProgramSpec(rodata={"udp_port": 5353}))
        with counting_runs() as counts:
            before = program_facts(program.id)
            send(scene, 30)
            until(lambda: sum(program.counters().values()) == 30, "30 packets")
            after = program_facts(program.id)
        assert counts
        assert (after.id, after.name) == (program.id, "redirect_udp")
        assert after.constants == {"udp_port": 5353}
        assert after.counters == program.counters()
        assert after.counters["other_port"] == 30
        assert after.xskmaps == (program.maps["xsks_map"].id,)
        assert after.runs is not None
        assert before.runs is not None
        assert after.runs - before.runs == 30

    def test_a_verdict_is_asked_without_sending(self, scene: Scene) -> None:
        program = scene.attach()
        own = scene.own_socket()
        scene.put(program, 0, own.fd)
        with scene.dut.entered():
            assert verdict(program.id, OURS, 2, 0) == "XDP_REDIRECT"
            assert verdict(program.id, OURS[:36] + b"\x10\x93" + OURS[38:], 2, 0) == "XDP_PASS"
            assert verdict(program.id, OURS, 2, 9) is None  # no such queue: the kernel refuses
        assert own.statistics()["rx_dropped"] == 0

    def test_a_program_that_is_gone(self) -> None:
        with pytest.raises(InputError, match="no BPF program with id"):
            program_facts(2**32 - 1)


class TestSockets:
    """All AF_XDP sockets are found, in a map or not."""

    def test_a_socket_in_no_map_and_one_in_two_slots(self, scene: Scene) -> None:
        program = scene.load()
        lone = scene.own_socket()
        with AllSockets() as found:
            assert lone.inode in found.read()
            (looked, *more) = found.read()[lone.inode].entries or ()
            assert all(is_scratch(entry.map_id) for entry in (looked, *more))
        for slot in (3, 5):
            scene.put(program, slot, lone.fd)
        map_id = program.maps["xsks_map"].id
        with AllSockets() as found:
            entries = set(found.read()[lone.inode].entries or ())
        others = {entry for entry in entries if not is_scratch(entry.map_id)}
        assert others == {MapEntry(map_id, 3), MapEntry(map_id, 5)}

    def test_a_map_of_somebody_else_who_looks_counts_as_little_as_our_own(self, scene: Scene) -> None:
        lone = scene.own_socket()
        with AllSockets(), View() as view:
            info = view.sockets[lone.inode]
            assert len(info.entries or ()) >= 2
            assert view.slots(info) == []
            scratch = {entry.map_id for entry in info.entries or ()}
            assert not scratch & set(all_xskmaps())

    def test_they_are_not_kept_alive(self, scene: Scene, faulty: Path) -> None:
        process = scene.start(faulty, None)
        with AllSockets() as found:
            (inode,) = [
                number for number, one in found.read().items() if process.pid in {o.pid for o in one.owners}
            ]
            process.kill()
            until(lambda: inode not in found.read(), "end of the socket")


class TestLinks:
    """The same as `ip link` says, and the peer."""

    def test_state_mtu_program_and_counters(self) -> None:
        with Scene(PAIR.with_links(mtu=2000, queues=3)) as scene:
            prog_id = scene.attach(mode="generic").id
            send(scene, 4)
            with scene.dut.entered():
                said = json.loads(
                    subprocess.run(
                        ["ip", "-json", "-details", "-statistics", "link", "show", "dut0"],
                        check=True,
                        capture_output=True,
                    ).stdout
                )[0]
            (found,) = [one for one in links(scene.dut) if one.name == "dut0"]
        assert (found.ifindex, found.mtu, found.mac) == (said["ifindex"], said["mtu"], said["address"])
        assert (found.queues, found.kind) == (said["num_rx_queues"], said["linkinfo"]["info_kind"])
        assert (found.xdp_mode, found.prog_id) == ("generic", prog_id)
        assert said["xdp"]["prog"]["id"] == prog_id
        assert found.counters["rx_packets"] == said["stats64"]["rx"]["packets"] == 4
        assert (found.up, found.carrier) == (True, True)

    def test_the_peer_is_found_in_the_right_one_of_many_equal_namespaces(self) -> None:
        """Each gen0 has ifindex 2 and a peer of ifindex 2."""
        with Scene() as first, Scene() as second, View() as view:
            for scene in (first, second):
                peer = view.peer_of(scene.target("dut0"))
                assert peer == scene.target("gen0")
            assert nsid(first.dut, second.gen) is None

    def test_a_device_that_is_down_and_its_peer(self, scene: Scene) -> None:
        scene.set_flags("gen0", up=False)
        with View() as view:
            own, peer = view.link(scene.target("dut0")), view.link(scene.target("gen0"))
        assert own is not None
        assert peer is not None
        assert (own.up, own.carrier) == (True, False)
        assert (peer.up, peer.carrier) == (False, True)


class TestSampler:
    """Packets with what the kernel knows beside their bytes."""

    def test_equal_packets_are_one_entry_with_a_count(self, scene: Scene) -> None:
        with Sampler(scene.gen, "gen0") as sampler:
            send(scene, 7)
            sampler.read()
            (packet,) = [one for one in sampler.packets if not one.frame.incoming]
        assert (packet.data, packet.frame.count) == (OURS, 7)
        assert (packet.frame.at, packet.frame.incoming, packet.frame.length) == ("gen0", False, len(OURS))
        assert packet.frame.text == "UDP 192.168.1.10:40000 → 192.168.1.20:4242"

    @pytest.mark.parametrize(("offloads", "partial"), [(True, True), (False, False)])
    def test_unfinished_checksums_are_seen(self, offloads: bool, partial: bool) -> None:
        with Scene(PAIR.with_links(offloads=offloads)) as scene, Sampler(scene.gen, "gen0") as sampler:
            scene.socket("gen").sendto(bytes(18), (PAIR.end("dut0").ip, 4242))
            sampler.read()
            seen = [one.frame.partial for one in sampler.packets if ":4242" in one.frame.text]
        assert seen == [partial]

    def test_it_stops_when_it_has_seen_enough(self, scene: Scene) -> None:
        with Sampler(scene.gen, "gen0") as sampler:
            send(scene, 300)
            sampler.read()
            assert not sampler.open
            assert sum(one.frame.count for one in sampler.packets) == 200
