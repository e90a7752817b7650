# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Ring levels and drops are what the process and the traffic did, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from labs.xskmap.station import Station, until
from xdp.xskmap import Reader, RingLevel, SocketInfo

pytestmark = pytest.mark.lab


@pytest.fixture
def look(station: Station) -> Callable[[], SocketInfo]:
    """Reads the socket in slot 0."""
    return lambda: Reader(fd=station.map_fd).read().sockets[0]


def levels(found: SocketInfo) -> dict[str, int | None]:
    rings = {"rx": found.rx, "tx": found.tx, "fill": found.fill, "completion": found.completion}
    return {name: ring.level if ring else None for name, ring in rings.items()}


def received(reader: Reader, level: int) -> SocketInfo:
    """The socket, once its RX ring has reached a level."""

    def read() -> SocketInfo:
        return reader.read().sockets[0]

    return until(read, lambda found: levels(found)["rx"] == level, f"RX level of {level}")


def test_a_new_socket_has_empty_rings_of_the_sizes_asked_for(station: Station) -> None:
    station.put(0, station.open_socket().fd)
    with Reader(fd=station.map_fd) as reader:
        found = reader.read().sockets[0]
    assert found.rx == RingLevel(64, 0, 0, 0, need_wakeup=False)
    assert found.tx == RingLevel(32, 0, 0, 0, need_wakeup=True)
    assert found.fill == RingLevel(128, 0, 0, 0, need_wakeup=False)
    assert found.completion == RingLevel(16, 0, 0, 0, need_wakeup=False)
    assert found.umem is not None
    assert (found.umem.size, found.umem.chunk_size, found.umem.chunks) == (256 * 2048, 2048, 256)
    assert (found.umem.headroom, found.umem.users, found.umem.unaligned) == (0, 1, False)


def test_a_ring_that_was_not_asked_for_is_none(station: Station) -> None:
    station.put(0, station.open_socket(tx_size=0, headroom=192).fd)
    with Reader(fd=station.map_fd) as reader:
        found = reader.read().sockets[0]
    assert levels(found) == {"rx": 0, "tx": None, "fill": 0, "completion": 0}
    assert found.statistics.tx_invalid_descs is None
    assert found.umem is not None
    assert found.umem.headroom == 192


def test_filled_frames_and_received_packets_are_counted_by_the_levels(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    with Reader(fd=station.map_fd) as reader:
        own.fill(50)
        assert levels(reader.read().sockets[0]) == {"rx": 0, "tx": 0, "fill": 50, "completion": 0}
        station.send(7)
        found = received(reader, 7)
        assert levels(found) == {"rx": 7, "tx": 0, "fill": 43, "completion": 0}
        own.take(3)
        assert levels(reader.read().sockets[0]) == {"rx": 4, "tx": 0, "fill": 43, "completion": 0}
    assert set(dataclasses.asdict(found.statistics).values()) == {0}


def test_queued_descriptors_wait_in_tx_and_sent_ones_in_completion(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    with Reader(fd=station.map_fd) as reader:
        own.queue_for_sending(5)
        assert levels(reader.read().sockets[0]) == {"rx": 0, "tx": 5, "fill": 0, "completion": 0}
        own.kick()
        found = until(
            lambda: reader.read().sockets[0], lambda seen: levels(seen)["completion"] == 5, "5 completions"
        )
    assert levels(found) == {"rx": 0, "tx": 0, "fill": 0, "completion": 5}


def test_an_empty_fill_ring_is_the_cause_that_is_counted(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    own.fill(4)
    with Reader(fd=station.map_fd) as reader:
        station.send(10)
        found = until(
            lambda: reader.read().sockets[0],
            lambda seen: seen.statistics.rx_fill_ring_empty_descs == 6,
            "6 packets without a frame",
        )
    assert levels(found) == {"rx": 4, "tx": 0, "fill": 0, "completion": 0}
    assert (found.statistics.rx_dropped, found.statistics.rx_ring_full) == (6, 0)


def test_a_full_rx_ring_is_the_cause_that_is_counted(station: Station) -> None:
    own = station.open_socket(rx_size=8)
    station.put(0, own.fd)
    own.fill(100)
    with Reader(fd=station.map_fd) as reader:
        station.send(20)
        found = until(
            lambda: reader.read().sockets[0],
            lambda seen: seen.statistics.rx_ring_full == 12,
            "12 packets too many",
        )
    assert (found.statistics.rx_dropped, found.statistics.rx_fill_ring_empty_descs) == (0, 0)
    # Every frame that was filled is in the fill ring, in the RX ring, or in the kernel's hands; the kernel
    # publishes what it took from the fill ring only with the next packet that it delivers.
    assert found.fill is not None
    assert found.rx is not None
    assert found.pool_free is not None
    assert (found.rx.level, found.pool_free > 0) == (8, True)
    assert found.fill.level - found.fill.unpublished + found.rx.level + found.pool_free == 100


def test_invalid_descriptors_are_counted(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    own.queue_for_sending(1, length=5000)  # longer than a chunk
    own.kick()
    with Reader(fd=station.map_fd) as reader:
        assert reader.read().sockets[0].statistics.tx_invalid_descs == 1


def test_the_statistics_are_those_that_the_kernel_tells_the_process(station: Station) -> None:
    own = station.open_socket(rx_size=8)
    station.put(0, own.fd)
    own.fill(10)
    own.queue_for_sending(2, length=5000)
    own.kick()
    station.send(30)

    def counted() -> dict[str, int]:
        return own.statistics()

    told = until(counted, lambda seen: seen["rx_ring_full"] + seen["rx_dropped"] == 22, "22 lost packets")
    with Reader(fd=station.map_fd) as reader:
        assert dataclasses.asdict(reader.read().sockets[0].statistics) == told
    assert all(told[name] for name in ("rx_ring_full", "tx_invalid_descs"))


def test_an_index_that_the_process_spoiled_is_shown_as_it_is(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    own.socket.fill.producer[0] = 1000
    with Reader(fd=station.map_fd) as reader:
        found = reader.read().sockets[0].fill
    assert found is not None
    assert (found.level, found.size) == (1000, 128)
