# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each cause, made on the real kernel while traffic goes on, is named, and no other."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from forwarder.spec import ForwarderSpec
from labs.harness.flood import flood
from labs.harness.pipeline import start_forwarder
from labs.harness.topology import CHAIN, PAIR
from labs.harness.veth import VethPair
from labs.why.scene import FAULTS, MANY, OURS, TWO_QUEUES, Scene
from xdp.program import ProgramSpec

pytestmark = pytest.mark.lab
GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETHER = Ether(src=GEN.mac, dst=DUT.mac)
V4 = IP(src=GEN.ip, dst=DUT.ip)


def test_packets_that_flow_are_healthy(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    scene.frames(OURS)
    assert scene.ask().name == "healthy"


def test_a_sender_that_sends_nothing(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    assert scene.ask().name == "nothing_sent"


def test_device_down(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    scene.frames(OURS)
    scene.set_flags("dut0", up=False)
    assert scene.ask().name == "link_down"


def test_peer_down(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    scene.set_flags("gen0", up=False)
    assert scene.ask().name == "peer_down"


def test_not_attached(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.load())
    scene.frames(OURS)
    assert scene.ask().name == "not_attached"


def test_attached_to_another_device(faulty: Path) -> None:
    with Scene(CHAIN) as scene:
        scene.start(faulty, scene.attach(device="dut1"))
        scene.frames(OURS)
        assert scene.ask("dut0").name == "attached_elsewhere"
        assert scene.ask("dut1").name == "attached_elsewhere"


def test_attached_in_another_namespace(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach(device="gen0"))
    scene.frames(OURS)
    found = scene.ask("dut0")
    assert found.name == "attached_elsewhere"
    assert "another network namespace" in found.cause


def test_generic_mode(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach(mode="generic"))
    scene.frames(OURS)
    assert scene.ask(want="native").name == "generic_mode"
    assert scene.ask().name == "healthy"


def test_another_program(scene: Scene, faulty: Path) -> None:
    scene.attach(ProgramSpec("xdp_pass"))
    scene.start(faulty, scene.load())
    scene.frames(OURS)
    assert scene.ask().name == "other_program"


def test_another_program_with_an_xskmap(scene: Scene, faulty: Path) -> None:
    scene.attach(ProgramSpec("redirect_queue"))
    scene.start(faulty, scene.load())
    scene.frames(OURS)
    assert scene.ask().name == "other_program"


def test_empty_map(scene: Scene, faulty: Path) -> None:
    scene.attach()
    scene.frames(OURS)
    assert scene.ask().name == "map_empty"
    scene.start(faulty, None)
    assert scene.ask().name == "map_empty"


def test_dead_socket(scene: Scene) -> None:
    program = scene.load()
    scene.put(program, 0, scene.own_socket().fd)
    scene.topology.pairs[0].close()
    scene.enter(VethPair(PAIR.links[0], scene.gen, scene.dut))
    with scene.dut.entered():
        program.attach("dut0", "native")
    scene.frames(OURS)
    assert scene.ask().name == "socket_dead"


@pytest.mark.requires("live_frames")
def test_peer_without_napi_of_the_device(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach(mode="generic"))
    scene.send(lambda: flood(scene.gen, "gen0", OURS, 64))
    assert scene.ask().name == "peer_without_napi"


def test_peer_without_napi_behind_the_device() -> None:
    with Scene(CHAIN) as scene:
        scene.attach(ProgramSpec("emit", rodata={"ifindex": scene.dut.interface_index("dut1")}))
        scene.frames(OURS)
        assert scene.ask().name == "peer_without_napi"


def test_mtu(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    scene.set_mtu("dut0", 1000)
    scene.frames(bytes(ETHER / V4 / UDP(sport=40000, dport=4242) / bytes(1400)))
    assert scene.ask().name == "mtu"


def test_vlan_tag(scene: Scene, faulty: Path, plain_udp: ProgramSpec) -> None:
    scene.start(faulty, scene.attach(plain_udp))
    scene.frames(bytes(ETHER / Dot1Q(vlan=7) / V4 / UDP(sport=40000, dport=4242) / bytes(18)))
    assert scene.ask().name == "vlan_tag"


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_port_not_matched(scene: Scene, faulty: Path, mode: str) -> None:
    scene.start(faulty, scene.attach(mode=mode))
    scene.frames(bytes(ETHER / V4 / UDP(sport=40000, dport=4243) / bytes(18)))
    found = scene.ask()
    assert found.name == "not_matched"
    assert any("4242" in line for line in found.evidence)


def test_fragments_are_not_matched(scene: Scene, faulty: Path) -> None:
    scene.start(faulty, scene.attach())
    sender = scene.socket("gen")
    scene.send(lambda: sender.sendto(bytes(3000), (DUT.ip, 4242)))
    found = scene.ask()
    assert found.name == "not_matched"
    assert "fragment" in found.cause


def test_socket_of_another_queue_in_the_slot(faulty: Path) -> None:
    with Scene(TWO_QUEUES) as scene:
        program = scene.attach()
        scene.put(program, 0, scene.own_socket(1).fd)
        scene.frames(OURS)
        assert scene.ask().name == "wrong_queue"


def test_packets_on_a_queue_without_socket(faulty: Path) -> None:
    with Scene(TWO_QUEUES) as scene:
        scene.start(faulty, scene.attach(), queue=1)
        scene.frames(OURS)
        assert scene.ask().name == "wrong_queue"


def test_super_frames(faulty: Path) -> None:
    with Scene(PAIR.with_links(offloads=True)) as scene:
        scene.start(faulty, scene.attach(mode="generic"))
        sender = scene.socket("gen")
        sender.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
        scene.send(lambda: sender.sendto(bytes(10_000), (DUT.ip, 4242)))
        assert scene.ask().name == "super_frames"


def test_frame_too_long() -> None:
    with Scene(PAIR.with_links(mtu=3000)) as scene:
        program = scene.attach()
        own = scene.own_socket()
        own.fill(100)
        scene.put(program, 0, own.fd)
        scene.frames(bytes(ETHER / V4 / UDP(sport=40000, dport=4242) / bytes(2500)))
        assert scene.ask().name == "frame_too_long"


@pytest.mark.parametrize(("fault", "name"), FAULTS.items())
def test_faults_of_a_foreign_program(scene: Scene, faulty: Path, fault: str, name: str) -> None:
    scene.start(faulty, scene.attach(), fault)
    scene.frames(OURS, burst=MANY)
    assert scene.ask().name == name


def test_a_forwarder_that_never_fills(scene: Scene) -> None:
    program = scene.attach()
    spec = ForwarderSpec("dut0", no_fill=True)
    with start_forwarder(spec, scene.topology, program, "dut0"):
        scene.frames(OURS)
        assert scene.ask().name == "fill_empty"


def test_partial_checksums(faulty: Path) -> None:
    with Scene(PAIR.with_links(offloads=True)) as scene:
        scene.start(faulty, scene.attach())
        sender = scene.socket("gen")
        scene.send(lambda: sender.sendto(bytes(18), (DUT.ip, 4242)))
        assert scene.ask().name == "partial_checksum"


def test_wrong_mac_behind_the_forwarder() -> None:
    with Scene(CHAIN) as scene, contextlib.ExitStack() as undo:
        program = scene.attach()
        spec = ForwarderSpec("dut0", action="forward", out="dut1")
        undo.enter_context(start_forwarder(spec, scene.topology, program, "dut0"))
        sender = scene.socket("gen")
        scene.send(lambda: sender.sendto(bytes(18), ("192.168.2.10", 4242)))
        assert scene.ask().name == "wrong_mac"


def test_link_behind_the_forwarder_down() -> None:
    with Scene(CHAIN) as scene, contextlib.ExitStack() as undo:
        program = scene.attach()
        spec = ForwarderSpec("dut0", action="forward", out="dut1")
        undo.enter_context(start_forwarder(spec, scene.topology, program, "dut0"))
        scene.set_flags("sink0", up=False)
        scene.frames(OURS)
        assert scene.ask().name == "peer_down"
