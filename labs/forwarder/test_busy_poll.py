# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Busy polling: what the kernel says of it, and that the interface is left as it was found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from forwarder.busy_poll import SETTINGS
from forwarder.socket import TX_BUDGET_DEFAULT
from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.pipeline import RESTLESS
from labs.harness.topology import Topology
from xdp.features import feature
from xdp.pyxdp.sysfs import open_sysfs

from .conftest import check_books

pytestmark = [pytest.mark.lab, pytest.mark.requires("busy_poll")]


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", busy_poll=True, busy_poll_usecs=30, tx_budget=100, check_owners=True)


@pytest.fixture
def deferral(topology: Topology) -> Callable[[], tuple[int, ...]]:
    """dut0's napi_defer_hard_irqs and gro_flush_timeout now."""

    def look() -> tuple[int, ...]:
        with topology["dut"].entered():
            root = open_sysfs()
            try:
                fds = [os.open(f"class/net/dut0/{name}", os.O_RDONLY, dir_fd=root) for name in SETTINGS]
            finally:
                os.close(root)
        try:
            return tuple(int(os.pread(fd, 32, 0)) for fd in fds)
        finally:
            for fd in fds:
                os.close(fd)

    return look


def test_sockets_poll_and_the_interface_is_restored(
    forwarder: ForwarderProcess, deferral: Callable[[], tuple[int, ...]], send: Callable[[int], None]
) -> None:
    granted = forwarder.sockets[0]
    assert (granted["busy_poll"]["prefer"], granted["busy_poll"]["usecs"]) == (True, 30)
    assert granted["tx_budget"] == (100 if feature("tx_budget").available else TX_BUDGET_DEFAULT)
    assert granted["asked"] == "auto"
    assert (granted["mode"], granted["attached"]) == ("copy", "native")
    assert deferral() == (2, 200_000)
    send(1000)
    forwarder.wait_for(lambda: forwarder.counters()["rx_packets"] == 1000, 5, "packets")
    counters = check_books(forwarder.stop())
    assert counters["busy_polls"] > 0
    assert deferral() == (0, 0)


def test_killed_forwarder_leaves_no_deferral(
    forwarder: ForwarderProcess, deferral: Callable[[], tuple[int, ...]]
) -> None:
    assert deferral() == (2, 200_000)
    forwarder.kill()
    deadline = time.monotonic() + 5
    while deferral() != (0, 0):
        assert time.monotonic() < deadline, deferral()
        time.sleep(0.002)  # between two looks at what another process restores


def test_what_moves_while_nothing_comes_keeps_no_account_open(forwarder: ForwarderProcess) -> None:
    before = forwarder.counters()
    forwarder.wait_for(lambda: forwarder.counters()["busy_polls"] > before["busy_polls"] + 2, 5, "busy polls")
    # An account is closed once nothing moves but these.
    assert {name for name, count in forwarder.counters().items() if count != before[name]} <= set(RESTLESS)
