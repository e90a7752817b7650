# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All of `xdplab conformance` on the two cards in zero-copy mode; nothing is skipped that could be tried."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from labs.conformance.bench import Bench
from labs.conformance.given import check_wire, given_site
from labs.conformance.mode import MODES, Mode
from labs.conformance.runner import run_matrix, why_not
from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
from labs.harness.huge_pages import HugePages
from labs.harness.topology import Topology, TopologySpec
from xdp.pyxdp.errors import InputError

pytestmark = [pytest.mark.lab, pytest.mark.guest]

ZERO_COPY = [mode for mode in MODES if mode.kind == "zerocopy"]
ONE_WIRE = {"shared_two_queues", "shared_two_devices", "side_by_side"}
PAGES = 16  # each case needs one for its unaligned frames, and the one before it lets go of it when it likes
DEVICES_AFFAIR = {
    "rx_dropped",
    "rx_fill_ring_empty_descs",
    "tx_ring_empty_descs",
    "too_many_fragments",
    "tx_consumer",
}


@pytest.fixture
def bench(zero_copy: TopologySpec) -> Iterator[Bench]:
    with Topology.build(zero_copy) as topology:
        gen, dut = (f"/proc/{os.getpid()}/fd/{topology[role].fd}" for role in ("gen", "dut"))
        with given_site("dut0", "gen0", dut, gen) as site, Bench(site) as made:
            yield made


@pytest.fixture
def pages() -> Iterator[None]:
    """Huge pages: one that follows another in the UMEM follows it on the device by chance only."""
    try:
        reserved = HugePages(PAGES)
    except InputError as error:
        pytest.skip(str(error))
    with reserved:
        yield


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("mode", ZERO_COPY, ids=lambda mode: mode.name)
def test_every_case_passes_or_is_the_devices_own_affair(bench: Bench, mode: Mode) -> None:
    check_wire(bench, Mode("native"))
    if reason := why_not(bench, mode):
        pytest.skip(f"zero-copy is refused on this kernel and card: {reason}")
    results = list(run_matrix(bench, [mode], list(SOCKET_CASES.values()), list(FORWARDER_CASES.values())))
    failed = [f"{one.case}: {one.reason}" for one in results if one.outcome == "fail"]
    assert not failed, "\n".join(failed)
    skipped = {one.case: one.reason for one in results if one.outcome == "skip"}
    excused = ONE_WIRE | DEVICES_AFFAIR
    excused |= {case for case, reason in skipped.items() if reason.startswith("no socket with XDP_USE_SG")}
    assert not set(skipped) - excused, skipped
