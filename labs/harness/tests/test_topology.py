# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Topologies: data first, then namespaces and links that leave nothing behind, however their owner ends."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labs.harness import veth_end
from labs.harness.netns import remove_pin
from labs.harness.runs import new_run_id
from labs.harness.topology import CHAIN, PAIR, NodeSpec, Topology, TopologySpec
from labs.harness.veth_spec import VethSpec
from xdp.pyxdp.errors import InputError, KernelError

RUN = new_run_id()  # of a form that clean-up knows, should these tests be killed


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("spec", [PAIR, CHAIN, PAIR.with_links(queues=4, mtu=3000)])
def test_a_spec_survives_json(spec: TopologySpec) -> None:
    assert TopologySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_spec_that_lacks_a_field_is_bad_input() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        TopologySpec.from_dict({"name": "x", "nodes": [{}], "links": []})


def test_an_end_in_no_node_is_refused() -> None:
    with pytest.raises(InputError, match="gen0 is in 'gen', which is no node"):
        TopologySpec("broken", (NodeSpec("dut"),), PAIR.links)


def test_two_interfaces_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="same name"):
        TopologySpec("broken", PAIR.nodes, PAIR.links + PAIR.links)


def test_an_unknown_interface_is_named_with_those_that_exist() -> None:
    with pytest.raises(InputError, match="'eth0'; it has gen0, dut0"):
        PAIR.end("eth0")


@pytest.mark.system
def test_the_ends_of_the_pair_reach_each_other() -> None:
    with Topology.build(PAIR) as topology:
        with topology["gen"].entered():
            subprocess.run(["ping", "-c1", "-W2", "192.168.1.20"], check=True, stdout=subprocess.DEVNULL)
        assert topology.namespace_of("dut0") is topology["dut"]


@pytest.mark.system
def test_the_chain_carries_packets_from_end_to_end_if_the_middle_forwards() -> None:
    nodes = tuple(
        dataclasses.replace(node, sysctls=(("net/ipv4/ip_forward", "1"),)) if node.role == "dut" else node
        for node in CHAIN.nodes
    )
    with Topology.build(dataclasses.replace(CHAIN, nodes=nodes)) as topology, topology["gen"].entered():
        subprocess.run(["ping", "-c1", "-W2", "192.168.2.10"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.system
def test_close_lets_go_of_every_descriptor_and_every_link() -> None:
    Topology.build(PAIR).close()  # whatever is opened once and for all is open now
    before = descriptors()
    topology = Topology.build(CHAIN)
    topology.close()
    topology.close()
    assert descriptors() == before
    assert all(pair.closed for pair in topology.pairs)
    assert all(namespace.closed for namespace in topology.namespaces.values())


@pytest.mark.system
@pytest.mark.parametrize("error", [KernelError("x", "y", 1), KeyboardInterrupt()])
def test_a_build_that_fails_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = descriptors()
    ends: list[str] = []
    bring_up = veth_end.VethEnd.bring_up

    def fail_at_the_third(self: veth_end.VethEnd, spec: VethSpec) -> None:
        ends.append(self.end.name)
        if len(ends) == 3:
            raise error
        bring_up(self, spec)

    monkeypatch.setattr(veth_end.VethEnd, "bring_up", fail_at_the_third)
    with pytest.raises(type(error)):
        Topology.build(CHAIN)
    assert descriptors() == before
    assert ends == ["gen0", "dut0", "dut1"]


@pytest.mark.system
def test_a_kept_topology_can_be_visited_after_close_and_leaves_with_its_pins() -> None:
    topology = Topology.build(PAIR, run=RUN, keep=True)
    try:
        topology.close()
        assert [path.name for path in topology.kept] == [f"xl-{topology.run}-gen", f"xl-{topology.run}-dut"]
        visit = ["ip", "netns", "exec", topology.kept[0].name, "ping", "-c1", "-W2", "192.168.1.20"]
        subprocess.run(visit, check=True, stdout=subprocess.DEVNULL)
    finally:
        for path in topology.kept:
            remove_pin(path)
    assert not [path for path in topology.kept if path.exists()]


BUILD_AND_WAIT = """
import os, sys
from labs.harness.topology import PAIR, Topology
topology = Topology.build(PAIR)
print(os.getpid(), topology["gen"].inode, flush=True)
sys.stdin.read()
"""


@pytest.mark.system
def test_after_sigkill_nothing_is_left() -> None:
    """The links go with the namespaces, and those with the process: seen on a link that reaches into them."""
    from labs.harness.netns import NetNs

    with NetNs("watch", "t") as watch:
        child = subprocess.Popen(
            [sys.executable, "-c", BUILD_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout is not None
            assert child.stdin is not None
            pid, gen = (int(word) for word in child.stdout.readline().split())
            held = Path(f"/proc/{pid}/fd").iterdir()
            fd = next(path for path in held if str(path.readlink()) == f"net:[{gen}]")
            with watch.netlink() as route, fd.open() as inside:
                route.link(
                    "add", ifname="w0", kind="veth", peer={"ifname": "w1", "net_ns_fd": inside.fileno()}
                )
            assert watch.interface_index("w0")
            child.send_signal(signal.SIGKILL)
            child.wait()
            deadline = time.monotonic() + 5
            names = ["w0"]
            while "w0" in names and time.monotonic() < deadline:
                with watch.netlink() as route:
                    names = [link.get_attr("IFLA_IFNAME") for link in route.get_links()]
                time.sleep(0.01)
            assert names == ["lo"], (
                f"5 s after SIGKILL a link into the dead process' namespace is left: {names}"
            )
        finally:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream:
                    stream.close()
