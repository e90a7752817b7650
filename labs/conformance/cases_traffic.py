# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: frames arrive and leave, whole and in order, whatever their size and wherever they lie."""

from __future__ import annotations

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import LARGEST, same, sizes
from labs.conformance.memory import UmemSpec
from labs.conformance.station import SocketSpec

XDP_HEADROOM = 256  # XDP_PACKET_HEADROOM, linux/bpf.h


@case()
def receive(env: Env) -> None:
    """Frames of all sizes are received in order, byte for byte."""
    station = env.station()
    frames = env.inbound(256, sizes(256))
    same(data(env.deliver(frames, station)), frames, "the socket")


@case()
def transmit(env: Env) -> None:
    """Frames of all sizes are sent in order, byte for byte, and each is completed once."""
    station = env.station()
    frames = env.outbound(256, sizes(256))
    same(env.collect(frames, station), frames, "the peer")


@case()
def bidirectional(env: Env) -> None:
    """Both at once through one socket; what it sends does not come back to it."""
    station = env.station()
    inbound, outbound = env.inbound(128, 200), env.outbound(128, 300, first=1000)
    for at in range(0, 128, 32):
        env.wire.tap.send(inbound[at : at + 32])
        station.send(outbound[at : at + 32])
        same(data(station.receive(32)), inbound[at : at + 32], "the socket")
        same(env.wire.tap.receive(32), outbound[at : at + 32], "the peer")


@case()
def single_packet(env: Env) -> None:
    """One frame each way, with nothing before it or after it to push it on."""
    station = env.station()
    inbound, outbound = env.inbound(1), env.outbound(1)
    same(data(env.deliver(inbound, station)), inbound, "the socket")
    same(env.collect(outbound, station), outbound, "the peer")


def _both_ways(env: Env, umem: UmemSpec) -> None:
    station = env.station(umem)
    inbound, outbound = env.inbound(128, sizes(128)), env.outbound(128, sizes(128))
    same(data(env.deliver(inbound, station)), inbound, "the socket")
    same(env.collect(outbound, station), outbound, "the peer")


@case(varies=())
def frames_2k(env: Env) -> None:
    """UMEM frames of 2,048 bytes."""
    _both_ways(env, UmemSpec(frame_size=2048))


@case(varies=())
def frames_4k(env: Env) -> None:
    """UMEM frames of 4,096 bytes."""
    _both_ways(env, UmemSpec(frame_size=4096))


@case(varies=())
def unaligned(env: Env) -> None:
    """Unaligned frames of 3,000 bytes: every second or so lies across a page's end."""
    _both_ways(env, env.unaligned())


@case(varies=())
def headroom(env: Env) -> None:
    """A packet lies 256 bytes and the UMEM's headroom behind the start of its frame."""
    for room in (0, 128):
        with env.alone(UmemSpec(headroom=room)) as station:
            frames = env.inbound(8, LARGEST)
            packets = env.deliver(frames, station)
            same(data(packets), frames, "the socket")
            places = {packet.address % 2048 for packet in packets}
            assert places == {XDP_HEADROOM + room}, f"headroom {room}: packets begin at {places}"


@case(varies=())
def rings_wrap(env: Env) -> None:
    """More frames than the rings have entries: their indices and the frames go round."""
    station = env.station(
        UmemSpec(frames=64, fill_size=64, completion_size=64), SocketSpec(rx_size=64, tx_size=64)
    )
    frames = env.inbound(300, 100)
    # A zero-copy device may look at the fill ring only when a packet comes: it must have frames left then.
    for at in range(0, 300, 10):
        part = frames[at : at + 10]
        same(data(env.deliver(part, station)), part, "the socket")
    outbound = env.outbound(300, 100)
    same(env.collect(outbound, station), outbound, "the peer")
