# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: poll() says what can be done, neither more nor less, also where rings are full."""

from __future__ import annotations

import select

from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import same
from labs.conformance.memory import UmemSpec
from labs.conformance.station import SocketSpec, Station

SENDTO_S = 0.5  # how long sendto() is tried where it may send nothing at all
MOMENT_MS = 10  # how long poll() is let wait for what must not come


@case()
def poll_rx(env: Env) -> None:
    """With nothing received poll() waits until its time is up; with a packet it returns at once."""
    station = env.station()
    frames = env.inbound(2)
    for one in frames:
        assert not station.poll(select.POLLIN, MOMENT_MS), "poll() says that a packet is there"
        env.wire.tap.send([one])
        same(data(station.receive(1)), [one], "the socket")
    assert not station.poll(select.POLLIN, MOMENT_MS), "poll() says so still, though it was taken"


@case()
def poll_rx_wakes(env: Env) -> None:
    """A poll() that waits already is woken by a packet that comes later."""
    station = env.station()
    frames = env.inbound(1)
    with env.later(0.02, lambda: env.wire.tap.send(frames)):
        found = station.poll(select.POLLIN, 2000)
    assert found & select.POLLIN, "poll() slept on for 2 s beside a packet"
    same(data(station.receive(1)), frames, "the socket")


@case()
def poll_rx_full(env: Env) -> None:
    """A full RX ring is readable; what finds no room in it is counted, and its frames are used again."""
    station = env.station(spec=SocketSpec(rx_size=32))
    frames = env.inbound(43)
    env.wire.tap.send(frames[:40])
    env.until(lambda: station.statistics()["rx_ring_full"] == 8, "8 packets to meet a full ring")
    assert station.poll(select.POLLIN, 0) & select.POLLIN
    got = station.consume()
    assert not station.poll(select.POLLIN, MOMENT_MS)
    env.wire.tap.send(frames[40:])
    got += station.receive(3, refill=False)
    same(data(got), frames[:32] + frames[40:], "the socket")
    station.expect(rx_ring_full=8, held=1)


@case()
def poll_tx(env: Env) -> None:
    """An empty TX ring is writable, one that is more than half full is not."""
    station = env.station(spec=SocketSpec(tx_size=32))
    frames = env.outbound(32)
    assert station.poll(select.POLLOUT, 0) & select.POLLOUT
    station.post([one for frame in frames for one in station.describe(frame)])
    station.flush()
    assert station.poll(select.POLLOUT, 0) & select.POLLOUT
    same(env.wire.tap.receive(32), frames, "the peer")


@case()
def poll_tx_full(env: Env) -> str:
    """A full completion ring stops sending: not writable, nothing lost, and all goes on once it is read."""
    station = env.station(UmemSpec(completion_size=16), SocketSpec(tx_size=32))
    frames = env.outbound(48)
    descriptors = [one for frame in frames for one in station.describe(frame)]
    station.post(descriptors[:32])
    told = _fill_completions(env, station)
    station.post(descriptors[32:])
    assert not station.poll(select.POLLOUT, MOMENT_MS), "writable, though nothing can be sent"
    assert (station.tx.level, station.completion.level) == (32, 16)
    same(env.wire.tap.receive(16), frames[:16], "the peer")
    assert len(station.reap()) == 16
    station.flush()
    same(env.wire.tap.receive(32), frames[16:], "the peer")
    return told


def _fill_completions(env: Env, station: Station) -> str:
    """Lets the kernel send until the completion ring is full; says so where sendto() moves nothing at all."""

    def kicked() -> bool:
        station.kick()
        return bool(station.completion.level)

    if env.mode.busy_poll and env.mode.kind == "zerocopy" and not env.within(SENDTO_S, kicked):
        # sendto() polls the socket's NAPI, that of reception, and wakes nobody (xsk_no_wakeup()).
        env.until(
            lambda: station.poll(select.POLLOUT, 1) >= 0 and station.completion.level == 16,
            "a full completion ring by poll(), as sendto() sends nothing",
        )
        return "sendto() sends nothing while busy polling is preferred: poll() does"
    env.until(lambda: kicked() and station.completion.level == 16, "a full completion ring")
    return ""


@case(varies=("busy_poll",))
def poll_sends(env: Env) -> None:
    """With need_wakeup poll() alone sends what is in the TX ring, without sendto()."""
    station = env.station()
    frames = env.outbound(8)
    station.post([one for frame in frames for one in station.describe(frame)])
    assert station.poll(select.POLLOUT, 100) & select.POLLOUT
    same(env.wire.tap.receive(8), frames, "the peer")
    env.until(lambda: len(station.reap()) >= 0 and not station.memory.lent, "8 completions")
