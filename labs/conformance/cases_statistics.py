# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: each of the six XDP_STATISTICS counts what it says, exactly."""

from __future__ import annotations

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import same
from labs.conformance.memory import UmemSpec
from labs.conformance.station import SocketSpec

LARGE = 1000


@case()
def rx_dropped(env: Env) -> None:
    """Packets larger than the room in a frame are dropped and counted; those between them arrive."""
    if env.mode.kind == "zerocopy":
        env.skip("what a device does with packets that do not fit is its own affair")
    # 2,048 - 256 - 1,200: 592 bytes are left.
    station = env.station(UmemSpec(headroom=1200))
    frames = env.inbound(12, [60, LARGE] * 6)
    env.wire.tap.send(frames)
    same(data(station.receive(6)), frames[::2], "the socket")
    env.until(lambda: station.statistics()["rx_dropped"] == 6, "6 dropped packets")
    station.expect(rx_dropped=6)


@case()
def rx_invalid_descs(env: Env) -> str:
    """Addresses behind the UMEM's end in the fill ring are skipped, and the kernel counts them all there."""
    station = env.station(fill=0)
    station.fill.produce([station.memory.spec.size + 2048 * i for i in range(5)])
    station.give(8)
    env.await_taken(station)
    frames = env.inbound(8)
    same(data(env.deliver(frames, station, refill=False)), frames, "the socket")
    assert station.fill.level == 0
    counted = station.statistics()["rx_invalid_descs"]
    assert counted in (0, 5), f"5 invalid addresses, {counted} counted"
    station.expect(rx_invalid_descs=counted)
    # It counts them at the fill ring, but XDP_STATISTICS reads the RX ring's count (xsk_getsockopt()).
    there = env.kernel_statistics()
    if there is not None:
        assert there.rx_invalid_descs == 5, f"5 invalid addresses, {there.rx_invalid_descs} counted there"
    return "" if counted else "the kernel counts them, but XDP_STATISTICS does not tell"


@case()
def tx_invalid_descs(env: Env) -> None:
    """Descriptors longer than a frame are skipped, each counted; those between them are sent."""
    station = env.station()
    frames = env.outbound(6)
    for frame in frames:
        station.post(station.describe(frame))
        station.post_doomed([(0, station.memory.spec.frame_size + 1, 0)])
    station.flush()
    same(env.wire.tap.receive(6), frames, "the peer")
    station.expect(tx_invalid_descs=6)


@case()
def rx_ring_full(env: Env) -> None:
    """Packets that find no room in the RX ring are counted; those that found it are whole."""
    station = env.station(spec=SocketSpec(rx_size=16))
    frames = env.inbound(21)
    env.wire.tap.send(frames)
    env.until(lambda: station.statistics()["rx_ring_full"] == 5, "5 packets to meet a full ring")
    same(data(station.consume()), frames[:16], "the socket")
    # Some kernels take a frame for the first of the 5, and keep it for the next packet.
    station.expect(rx_ring_full=5, held=1)


@case()
def rx_fill_ring_empty_descs(env: Env) -> None:
    """Packets that find no frame are counted, here and as dropped; with new frames it goes on."""
    if env.mode.kind == "zerocopy":
        env.skip("a device may keep packets until there are frames")
    station = env.station(fill=8)
    frames = env.inbound(15)
    env.wire.tap.send(frames[:12])
    env.until(lambda: station.statistics()["rx_fill_ring_empty_descs"] >= 4, "4 packets to find no frame")
    same(data(station.receive(8)), frames[:8], "the socket")
    same(data(env.deliver(frames[12:], station)), frames[12:], "the socket")
    station.expect(rx_fill_ring_empty_descs=4, rx_dropped=4)


@case()
def tx_ring_empty_descs(env: Env) -> None:
    """Each send() that finds the TX ring empty is counted."""
    if env.mode.kind == "zerocopy":
        env.skip("a device looks into the ring when it likes, not in the call")
    station = env.station()
    frames = env.outbound(1)
    same(env.collect(frames, station), frames, "the peer")
    before = station.statistics()["tx_ring_empty_descs"]
    for _ in range(7):
        station.send_call()
    counted = station.statistics()["tx_ring_empty_descs"] - before
    station.expect(tx_ring_empty_descs=before + 7)
    assert counted == 7, f"7 calls, {counted} counted"
