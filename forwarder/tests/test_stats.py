# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Counters are read by name from shared memory, and the line that people read has its exact form."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from forwarder import _batch
from forwarder.stats import Counters, CountersView, Meter, format_line
from xdp.pyxdp.errors import InputError


@pytest.fixture
def memory_file() -> Iterator[int]:
    """A memfd, as the harness gives it: empty."""
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def test_a_view_sees_what_is_counted_as_it_is_counted(memory_file: int) -> None:
    counters = Counters(2, memory_file)
    with CountersView(memory_file) as view:
        assert view.names == _batch.COUNTERS
        for queue, packets in ((0, 5), (1, 7)):
            with counters.block(queue) as block:
                struct.pack_into("=Q", block, 8 * _batch.COUNTERS.index("rx_packets"), packets)
        assert (view.queue(0)["rx_packets"], view.queue(1)["rx_packets"]) == (5, 7)
        assert view["rx_packets"] == view.read()["rx_packets"] == counters.total()["rx_packets"] == 12
        assert sum(view.read().values()) == 12
    counters.close()


def test_a_view_outlives_the_writer(memory_file: int) -> None:
    counters = Counters(1, memory_file)
    with counters.block(0) as block:
        struct.pack_into("=Q", block, 0, 3)
    counters.close()
    with CountersView(memory_file) as view:
        assert view.queue(0)[_batch.COUNTERS[0]] == 3


def test_a_view_of_nothing_says_what_to_wait_for(memory_file: int) -> None:
    with pytest.raises(InputError, match="wait until it is ready"):
        CountersView(memory_file)


def test_counters_need_a_memory_file() -> None:
    with pytest.raises(InputError, match="--counters-fd 999: give a memfd"):
        Counters(1, 999)


def test_counters_of_a_forwarder_before_are_forgotten(memory_file: int) -> None:
    for _ in range(2):
        counters = Counters(1, memory_file)
        assert sum(counters.total().values()) == 0
        with counters.block(0) as block:
            block[:8] = b"\1" * 8
        counters.close()


def test_the_line_has_the_exact_form() -> None:
    meter = Meter()
    start = meter._at
    assert meter.line(10000, 600000, start + 1) == "AF_XDP RX: 10000 pkts (10000 pps) 600 KB (4.8 Mbit/s)"
    assert meter.line(10000, 600000, start + 2) == "AF_XDP RX: 10000 pkts (0 pps) 600 KB (0.0 Mbit/s)"
    assert meter.line(30000, 1800000, start + 4) == "AF_XDP RX: 30000 pkts (10000 pps) 1800 KB (4.8 Mbit/s)"
    assert format_line(0, 0, 0, 0) == "AF_XDP RX: 0 pkts (0 pps) 0 KB (0.0 Mbit/s)"
