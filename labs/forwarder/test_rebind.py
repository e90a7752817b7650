# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A queue that is just being given up is waited for, within a bound, and that is told."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from forwarder.loop import BatchLoop
from forwarder.spec import ForwarderSpec
from forwarder.stats import Counters
from labs.harness.topology import Topology
from xdp.pyxdp.errors import KernelError

pytestmark = pytest.mark.lab


def test_busy_queue_is_tried_again_until_it_is_free(topology: Topology) -> None:
    spec = ForwarderSpec("dut0")
    with (
        topology["dut"].entered(),
        closing(Counters(2)) as counters,
        counters.block(0) as block,
        counters.block(1) as other,
        BatchLoop(spec, 0, block) as first,
    ):
        assert first.bind_retries == 0
        leaving = threading.Timer(0.05, first.close)
        leaving.start()
        with BatchLoop(spec, 0, other) as second:
            assert second.bind_retries > 0
        leaving.join()


def test_queue_that_stays_busy_is_refused_in_the_end(topology: Topology) -> None:
    spec = ForwarderSpec("dut0")
    with (
        topology["dut"].entered(),
        closing(Counters(2)) as counters,
        counters.block(0) as block,
        counters.block(1) as other,
        BatchLoop(spec, 0, block),
        pytest.raises(KernelError, match=r"EBUSY.*another AF_XDP socket holds this queue"),
    ):
        BatchLoop(spec, 0, other)
