# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`respond` answers ARP, ping and UDP from user space: the DUT's own stack sees nothing of it."""

from __future__ import annotations

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.ping import ping
from labs.harness.pipeline import Pipeline
from labs.harness.topology import PAIR
from xdp.program import ProgramSpec

pytestmark = pytest.mark.lab


@pytest.fixture
def program_spec() -> ProgramSpec:
    return ProgramSpec("redirect_queue")


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", action="respond", check_owners=True)


def test_a_hundred_pings_are_answered_from_user_space(pipeline: Pipeline) -> None:
    before = pipeline.count()
    report = ping(pipeline.topology["gen"], PAIR.end("dut0").ip, run=pipeline.topology.run, count=100)
    assert (report.sent, report.received) == (100, 100)
    delta = pipeline.counted_since(before)
    assert delta["forwarder_answered_icmp"] == 100
    assert delta["program_redirected"] == 100
    assert delta["program_no_socket"] == 0


def test_an_unknown_neighbour_is_found_by_the_forwarders_arp_reply(pipeline: Pipeline) -> None:
    gen = pipeline.topology["gen"]
    with gen.netlink() as netlink:
        netlink.neigh("del", dst=PAIR.end("dut0").ip, ifindex=gen.interface_index("gen0"))
    before = pipeline.count()
    report = ping(gen, PAIR.end("dut0").ip, run=pipeline.topology.run, count=5)
    assert report.received == 5
    assert pipeline.counted_since(before)["forwarder_answered_arp"] >= 1  # the kernel may ask again
