# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: several sockets on one UMEM."""

from __future__ import annotations

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import number_of, same
from labs.conformance.programs import REDIRECT, SPLIT


@case(varies=("need_wakeup",))
def shared_one_queue(env: Env) -> None:
    """Two sockets on one queue and one UMEM share its fill and completion ring; each has its own packets."""
    env.use_fresh(SPLIT)
    first = env.station()
    second = env.sharing(first, slot=1)
    frames = env.inbound(64)
    env.wire.tap.send(frames)
    same(data(first.receive(32)), frames[::2], "the first socket")
    same(data(second.receive(32)), frames[1::2], "the second socket")
    for station, start in ((first, 100), (second, 200)):
        outbound = env.outbound(32, first=start)
        same(env.collect(outbound, station), outbound, "the peer")


@case(varies=("need_wakeup",))
def shared_two_queues(env: Env) -> None:
    """Sockets on two queues on one UMEM, each with rings of its own: each gets its queue's packets."""
    env.wire = env.site.wires[-1]  # the suite's own peer can aim at its queues
    if env.wire.spec.queues < 2:
        env.skip(f"{env.wire.spec.dut} has one queue only")
    first = env.station(fill=64)
    second = env.sharing(first, queue=1, slot=1, fill=64)
    one, two = env.inbound(32), env.inbound(32, first=500)
    if env.site.own:
        with env.peer_socket(queue=0) as left, env.peer_socket(queue=1) as right:
            right.send(two)
            left.send(one)
    else:
        env.wire.tap.send(one + two)
    if env.site.own and env.mode.xdp == "native":
        same(data(first.receive(32)), one, "queue 0")
        same(data(second.receive(32)), two, "queue 1")
    else:  # which queue a packet meets is the device's affair; generic XDP on veth sees queue 0 only
        got: list[bytes] = []

        def all_came() -> bool:
            got.extend(data([*first.consume(), *second.consume()]))
            return len(got) >= 64

        first.give_back()
        env.until(all_came, "64 frames on either queue")
        same(sorted(got, key=lambda frame: number_of(frame) or 0), one + two, "both queues")
    for station, start in ((first, 100), (second, 200)):
        outbound = env.outbound(32, first=start)
        same(env.collect(outbound, station), outbound, "the peer")


@case(varies=("need_wakeup",))
def shared_two_devices(env: Env) -> None:
    """Sockets on two devices on one UMEM: what came in by one goes out by the other, without a copy."""
    if len(env.site.wires) < 2:
        env.skip("needs a second pair of devices")
    other = env.site.wires[1]
    first = env.station(fill=64)
    env.use(REDIRECT, other)
    second = env.sharing(first, wire=other, fill=32)
    frames = env.inbound(32, 400)
    env.wire.tap.send(frames)
    env.until(lambda: first.rx.level == 32, "32 packets")
    second.pass_on(first)
    second.flush()
    same(other.tap.receive(32), frames, "the second peer")
    back = env.inbound(16, first=900)
    env.wire = other
    with env.peer_socket(queue=0) as peer:
        peer.send(back)
    same(data(second.receive(16)), back, "the second socket")
    assert not first.consume(), "the first socket got packets of the second device"
