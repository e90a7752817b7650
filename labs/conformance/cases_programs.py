# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: what the XDP program does to packets and verdicts is what the socket gets."""

from __future__ import annotations

import struct

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import Credit, data
from labs.conformance.frames import number_of, same
from labs.conformance.programs import DROP_HALF, METADATA, REDIRECT, tail
from labs.conformance.station import Packet, Station

TAIL_BYTES = 4
# veth copies a packet into a buffer of 256 bytes, the packet, and what fills up 64: 28 bytes here.
TAIL_SIZE = 100


@case()
def drop_half(env: Env) -> None:
    """Of frames that the program drops by turns the socket gets every other one, and counts nothing."""
    env.use_fresh(DROP_HALF)
    station = env.station()
    frames = env.inbound(64)
    env.wire.tap.send(frames)
    same(data(station.receive(32)), frames[::2], "the socket")


@case(varies=())
def metadata(env: Env) -> None:
    """What bpf_xdp_adjust_meta() put in front of a packet lies right before it in the UMEM."""
    env.use_fresh(METADATA)
    station = env.station()
    frames = env.inbound(64, 200)
    packets = env.deliver(frames, station)
    same(data(packets), frames, "the socket")
    counts = [struct.unpack("=I", packet.before[-4:])[0] for packet in packets]
    assert counts == list(range(64)), f"counts in front of the packets: {counts}"


@case(varies=())
def tail_shrunk(env: Env) -> None:
    """A packet that bpf_xdp_adjust_tail() made shorter arrives without its last bytes."""
    env.use(tail(-TAIL_BYTES))
    station = env.station()
    frames = env.inbound(32, TAIL_SIZE)
    same(data(env.deliver(frames, station)), [one[:-TAIL_BYTES] for one in frames], "the socket")


@case(varies=())
def tail_grown(env: Env) -> None:
    """A packet that bpf_xdp_adjust_tail() made longer arrives with as many bytes more, zeros."""
    env.use(tail(TAIL_BYTES))
    station = env.station()
    frames = env.inbound(32, TAIL_SIZE)
    packets = env.deliver_unless_refused(frames, station, "bpf_xdp_adjust_tail() grows no packet here")
    same(data(packets), [one + bytes(TAIL_BYTES) for one in frames], "the socket")


@case()
def program_replaced(env: Env) -> None:
    """A program takes the place of another under traffic: no packet is lost, none meets neither of them."""
    env.use(REDIRECT)
    station = env.station()
    env.enter_also(station, METADATA)
    frames = env.inbound(300)
    packets: list[Packet] = []

    def take(count: int) -> None:
        env.until(lambda: _take(station, credit, packets) >= count, f"{count} frames at the socket")

    with env.sending(frames) as credit:
        take(100)
        env.use(METADATA)
        take(300)
    same(data(packets), frames, "the socket")
    assert not env.wire.stack.receive(0), "frames met no program, and went to the stack"
    marks = [struct.unpack("=I", packet.before[-4:])[0] for packet in packets[-50:]]
    assert marks == list(range(marks[0], marks[0] + 50)), f"the second program did not mark: {marks}"


@case()
def program_removed(env: Env) -> str:
    """Without its program packets go to the stack, with it again to the same socket; none to both."""
    station = env.station()
    frames = env.inbound(300)
    by_number = {number_of(one): one for one in frames}
    packets: list[Packet] = []
    stack: list[bytes] = []

    def come() -> tuple[int, int]:
        passed = env.wire.stack.receive(0)
        credit.taken(len(passed))
        stack.extend(passed)
        return _take(station, credit, packets), len(stack)

    with env.sending(frames) as credit:
        env.until(lambda: come()[0] >= 100, "100 frames at the socket")
        env.wire.detach()
        env.until(lambda: come()[1] >= 50, "50 frames at the stack")
        env.use(REDIRECT)
        env.until(lambda: come()[0] > 0 and number_of(packets[-1].data) == 299, "the last frame there")
    socket = data(packets)
    for who, got in (("the socket", socket), ("the stack", stack)):
        numbers = [number_of(one) for one in got]
        same(got, [by_number[number] for number in sorted(set(numbers), key=lambda n: n or 0)], who)
    assert not {*map(number_of, socket)} & {*map(number_of, stack)}, "frames came to both"
    # What is in the device's ring while it changes over is dropped by the driver.
    return f"{len(socket)} to the socket, {len(stack)} to the stack, {300 - len(socket) - len(stack)} lost"


def _take(station: Station, credit: Credit, packets: list[Packet]) -> int:
    """Takes what has come, and lets as many follow; how many have come in all."""
    station.wake_reception()
    come = station.receive(0)
    credit.taken(len(come))
    packets.extend(come)
    return len(packets)
