# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: what must not be sent is not, what may be is, and the next packet does not suffer.

Kernels differ in what becomes of the frames of such descriptors: some complete them, others never do. Both
are taken; which it was is the result's detail.
"""

from __future__ import annotations

from pathlib import Path

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.frames import SMALLEST, same
from labs.conformance.memory import OFFSET_SHIFT, UmemSpec
from labs.conformance.station import Descriptor, Station
from xdp.pyxdp.xsk import XDP_PKT_CONTD

SIZE = SMALLEST


def _try(env: Env, station: Station, places: list[tuple[int, int, bool]]) -> str:
    """Posts one descriptor for each (address, length, valid), with a valid one before and after them all."""
    frames = env.outbound(2 + sum(valid for _, _, valid in places), SIZE)
    sent = iter(frames)
    station.post(station.describe(next(sent)))
    for address, length, valid in places:
        if valid:
            station.post_at(address, next(sent))
        else:
            station.post_doomed([(address % (1 << 64), length, 0)])
    station.post(station.describe(next(sent)))
    station.flush()
    same(env.wire.tap.receive(len(frames)), frames, "the peer")
    return _completed(station, sum(not valid for _, _, valid in places))


def _completed(station: Station, invalid: int) -> str:
    """Their count, exactly; and what became of their frames."""
    station.reap()
    doomed, left = invalid, station.memory.doomed.total()
    assert left in (0, doomed), f"of {doomed} invalid descriptors {doomed - left} were completed"
    station.expect(tx_invalid_descs=invalid)
    return "their frames are completed" if not left else "their frames are never completed"


def _aligned(env: Env, size: int) -> str:
    umem = UmemSpec(frame_size=size, frames=64)
    station = env.station(umem, fill=0)
    frame, end = 40 * size, umem.size
    return _try(
        env,
        station,
        [
            (0, SIZE, True),
            (frame, 0, False),
            (frame, size + 1, False),
            (frame + size - SIZE, SIZE, True),  # up to the frame's last byte
            (frame + size - SIZE // 2, SIZE, False),  # across the frame's end
            (end, SIZE, False),
            (end - SIZE // 2, SIZE, False),  # across the UMEM's end
            (end - SIZE, SIZE, True),  # up to its last byte
            (-2, SIZE, False),
        ],
    )


@case()
def invalid_aligned_2k(env: Env) -> str:
    """Frames of 2,048 bytes: length 0, too long, across the end of a frame or of the UMEM, outside of it."""
    return _aligned(env, 2048)


@case(varies=())
def invalid_aligned_4k(env: Env) -> str:
    """The same with frames of 4,096 bytes."""
    return _aligned(env, 4096)


@case()
def invalid_unaligned(env: Env) -> str:
    """Unaligned: across a page's end is valid, so is an offset in the upper bits; outside the UMEM is not."""
    umem = env.unaligned(64)
    station = env.station(umem, fill=0)
    end = umem.size
    return _try(
        env,
        station,
        [
            (0, SIZE, True),
            (4096 - SIZE // 2, SIZE, True),
            (30_000 | 100 << OFFSET_SHIFT, SIZE, True),
            (60_000, 0, False),
            (60_000, 3001, False),
            (end, SIZE, False),
            (end - SIZE // 2, SIZE, False),
            ((end - 100) | 100 << OFFSET_SHIFT, SIZE, False),
            (-2, SIZE, False),
        ],
    )


def _try_packets(env: Env, station: Station, packets: list[list[Descriptor]]) -> str:
    """Posts packets of several frames that are invalid, a valid one between any two."""
    frames = env.outbound(len(packets) + 1, 200)
    for frame, packet in zip(frames[:-1], packets, strict=True):
        station.post(station.describe(frame))
        station.post_doomed(packet)
    station.post(station.describe(frames[-1]))
    station.flush()
    same(env.wire.tap.receive(len(frames)), frames, "the peer")
    station.reap()
    counted = station.statistics()["tx_invalid_descs"]
    most = sum(map(len, packets))
    assert len(packets) <= counted <= most, f"{len(packets)} invalid packets, {counted} counted"
    station.expect(tx_invalid_descs=counted)
    left = station.memory.doomed.total()
    return f"{counted} of {most} descriptors counted, {most - left} completed"


@case(varies=())
def invalid_multi_buffer(env: Env) -> str:
    """A packet of several frames with one invalid descriptor is dropped whole; the next one is sent."""
    station = env.multi_buffer_station(UmemSpec(frames=64), fill=0)
    end = station.memory.spec.size
    more = XDP_PKT_CONTD
    return _try_packets(
        env,
        station,
        [
            [(0, 1000, more), (2048, 1000, more), (4096, 0, 0)],  # the last has no length
            [(0, 1000, more), (end, 1000, 0)],  # the last lies outside the UMEM
            [(0, 1000, more), (2048, 2049, more), (4096, 1000, 0)],  # the second is too long
            [(0, 0, more), (2048, 1000, more), (4096, 1000, 0)],  # the first has no length
            [(0, 1000, more), (2048 - 30, 60, 0)],  # the last lies across a frame's end
        ],
    )


@case(varies=())
def too_many_fragments(env: Env) -> str:
    """As many fragments as an skb holds, and the head, are one packet; with one more it is dropped."""
    if env.mode.kind == "zerocopy":
        env.skip("how many frames a packet may have is the driver's affair (xdp_zc_max_segs)")
    most = int(Path("/proc/sys/net/core/max_skb_frags").read_text()) + 1
    station = env.multi_buffer_station(UmemSpec(frames=128), fill=0)
    piece = 64
    (whole,) = env.outbound(1, most * piece)
    addresses = [station.write(whole[at : at + piece]) for at in range(0, len(whole), piece)]
    packet = [(address, piece, XDP_PKT_CONTD) for address in addresses]
    station.post([*packet[:-1], (addresses[-1], piece, 0)])
    station.flush()
    same(env.wire.tap.receive(1), [whole], "the peer")
    spoiled = [(2048 * i, piece, XDP_PKT_CONTD) for i in range(most)] + [(2048 * most, piece, 0)]
    return _try_packets(env, station, [spoiled])
