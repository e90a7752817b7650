# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A real TAP that takes no more: only where somebody limits its send buffer and holds back what was written.

Without a limit a TAP is never full: before the call returns the kernel has taken the frame to its end in the
stack, or has put it into a queue that is not the TAP's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest

from forwarder.host import IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, TUN, TUNSETIFF
from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.packets import datagram
from labs.harness.topology import PAIR, Topology, TopologySpec
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import PACKETS, plan

pytestmark = pytest.mark.lab
TAP = "host0"
SIZE = 1000
TUNSETSNDBUF = 0x400454D4  # linux/if_tun.h


@pytest.fixture
def topology_spec() -> TopologySpec:
    return PAIR.with_links(queues=2)


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    # Only of a TAP with several queues another process can open a further one. Rings for all that is sent.
    return ForwarderSpec(
        "dut0",
        queues=(0, 1),
        action="host",
        host_tap=TAP,
        check_owners=True,
        frames=1 << 13,
        rx_size=1 << 12,
        fill_size=1 << 12,
    )


@contextlib.contextmanager
def further_queue(namespace: NetNs) -> Iterator[int]:
    """A queue of the TAP of our own; what is set through it holds for all of them."""
    with namespace.entered():
        fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
        try:
            flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", TAP.encode(), flags))
            yield fd
        finally:
            os.close(fd)


@pytest.mark.loses("forwarder/host_full", PACKETS - 2)
@pytest.mark.loses("forwarder/host", 2 + PACKETS)
@pytest.mark.usefixtures("pipeline")  # its account is checked at the end
def test_what_a_full_tap_refuses_is_counted_and_it_goes_on_when_there_is_room(
    topology: Topology, forwarder: ForwarderProcess, traffic: Callable[..., TrafficReport]
) -> None:
    def tc(command: str) -> None:
        with topology["dut"].entered():
            subprocess.run(["tc", *command.split()], check=True, capture_output=True)

    def host(what: str) -> int:
        return forwarder.counters()[f"host_{what}"]

    with topology["dut"].netlink() as route:
        route.link("add", ifname="away0", kind="veth", peer={"ifname": "away1"})
        for name in ("away0", "away1"):
            route.link("set", index=topology["dut"].interface_index(name), state="up")
    # One frame passes; the second waits a thousand seconds, and counts as the TAP's as long.
    tc(f"qdisc add dev away0 root tbf rate 8bit burst {SIZE} limit 1000000")
    tc(f"qdisc add dev {TAP} clsact")
    away = "action mirred egress redirect dev away0"
    tc(f"filter add dev {TAP} ingress protocol all u32 match u32 0 0 {away}")
    large = datagram(payload=bytes(SIZE - 42))
    with further_queue(topology["dut"]) as fd:
        fcntl.ioctl(fd, TUNSETSNDBUF, struct.pack("i", 1))  # one byte, and it is full
        traffic(plan([large]))
        forwarder.wait_for(lambda: host("packets") + host("full") == PACKETS, 5, "all written or refused")
        assert (host("packets"), host("full"), host("refused")) == (2, PACKETS - 2, 0)
        tc("qdisc del dev away0 root")
        traffic(plan([large]))
        forwarder.wait_for(lambda: host("packets") == 2 + PACKETS, 5, "all written")
        assert host("full") == PACKETS - 2
