# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: packets of 9,000 bytes, which fill several frames (XDP_USE_SG, xdp.frags programs)."""

from __future__ import annotations

import struct

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import HEADER, JUMBO_MTU, same, sizes
from labs.conformance.memory import UmemSpec
from labs.conformance.programs import METADATA_FRAGS, tail

JUMBO = JUMBO_MTU + HEADER
XDP_HEADROOM = 256  # XDP_PACKET_HEADROOM, linux/bpf.h
FRAMES = UmemSpec(frames=512, fill_size=256, completion_size=256)


@case()
def jumbo_receive(env: Env) -> str:
    """Packets of up to 9,014 bytes are received whole and in order, small ones between them in one frame."""
    with env.jumbo():
        station = env.multi_buffer_station(FRAMES)
        frames = env.inbound(40, sizes(40, JUMBO))
        packets = []
        for at in range(0, 40, 10):
            part = frames[at : at + 10]
            packets += env.deliver(part, station)
            same(data(packets[at:]), part, "the socket")
        room = FRAMES.frame_size - XDP_HEADROOM
        for packet in packets:
            most = -(-len(packet.data) // room)
            assert packet.frames <= most or env.mode.kind == "zerocopy", (
                f"{len(packet.data)} bytes came in {packet.frames} frames, not {most}"
            )
        return f"9,014 bytes come in {packets[-1].frames} frames"


@case()
def jumbo_transmit(env: Env) -> None:
    """Packets of up to 9,014 bytes in several frames are sent whole and in order."""
    with env.jumbo():
        station = env.multi_buffer_station(FRAMES, fill=0)
        frames = env.outbound(40, sizes(40, JUMBO))
        for at in range(0, 40, 10):
            part = frames[at : at + 10]
            same(env.collect(part, station), part, "the peer")


@case(varies=())
def jumbo_unaligned(env: Env) -> None:
    """The same both ways with unaligned frames of 3,000 bytes."""
    umem = env.unaligned()
    with env.jumbo():
        station = env.multi_buffer_station(umem)
        inbound, outbound = env.inbound(20, sizes(20, JUMBO)), env.outbound(20, sizes(20, JUMBO))
        same(data(env.deliver(inbound, station)), inbound, "the socket")
        same(env.collect(outbound, station), outbound, "the peer")


@case(varies=())
def jumbo_metadata(env: Env) -> None:
    """Metadata lies right before the first frame of a packet of several."""
    with env.jumbo(METADATA_FRAGS):
        station = env.multi_buffer_station(FRAMES)
        frames = env.inbound(16, JUMBO)
        packets = env.deliver(frames, station)
        same(data(packets), frames, "the socket")
        counts = [struct.unpack("=I", packet.before[-4:])[0] for packet in packets]
        assert counts == list(range(counts[0], counts[0] + 16)), f"counts before the packets: {counts}"


@case(varies=())
def jumbo_tail_shrunk(env: Env) -> None:
    """A packet of several frames can be made shorter by more than a frame."""
    _jumbo_tail(env, 6000, -4096)


@case(varies=())
def jumbo_tail_grown(env: Env) -> None:
    """A packet of several frames can be made longer where its last buffer has room."""
    _jumbo_tail(env, 6000, 64)


def _jumbo_tail(env: Env, size: int, change: int) -> None:
    with env.jumbo(tail(change, frags=True)):
        station = env.multi_buffer_station(FRAMES)
        frames = env.inbound(8, size)
        packets = env.deliver_unless_refused(
            frames, station, "bpf_xdp_adjust_tail() does not do that to several buffers here"
        )
        wanted = [one[:change] if change < 0 else one + bytes(change) for one in frames]
        same(data(packets), wanted, "the socket")
