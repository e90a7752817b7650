# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: sockets come and go, are handed on, and stand beside others of the same name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import select
import socket
import struct
import sys

from labs.conformance.bench import Bench
from labs.conformance.case import case
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.frames import same
from labs.conformance.handover import Legacy, Will, tell
from labs.conformance.memory import UmemSpec
from labs.conformance.site import twin_site
from labs.conformance.station import SocketSpec
from labs.harness.patience import patient
from labs.harness.process import Process
from labs.harness.runs import new_run_id
from xdp.pyxdp import xsk

BUDGET = 32  # TX_BATCH_SIZE, net/xdp/xsk.c: descriptors that one copy-mode sendto() sends
REBINDS = 100
KEPT = 100  # packets that the first process takes
WAITING = 20  # packets that wait in the RX ring when the socket is handed over
SMALL = UmemSpec(frames=16, fill_size=16, completion_size=16)


@case(varies=("need_wakeup",))
def tx_consumer(env: Env) -> str | None:
    """When sendto() returns the TX ring's consumer has moved by what it sent: 32, or the budget set."""
    if env.mode.kind == "zerocopy":
        env.skip("a device sends when it likes, not in the call")
    station = env.station(UmemSpec(frames=512, completion_size=256), SocketSpec(tx_size=256))
    frames = env.outbound(BUDGET + 1)
    before = station.tx.consumer
    station.post([one for frame in frames for one in station.describe(frame)])
    assert station.send_call() == errno.EAGAIN, "no EAGAIN, though one descriptor is left"
    assert station.tx.consumer - before == BUDGET, f"moved by {station.tx.consumer - before}"
    station.flush()
    assert station.tx.consumer - before == BUDGET + 1
    same(env.wire.tap.receive(BUDGET + 1), frames, "the peer")
    try:
        station.set_option(xsk.XDP_MAX_TX_SKB_BUDGET, struct.pack("I", 100))
    except OSError as error:
        return f"no XDP_MAX_TX_SKB_BUDGET ({error.strerror})"
    frames = env.outbound(101)
    before = station.tx.consumer
    station.post([one for frame in frames for one in station.describe(frame)])
    assert station.send_call() == errno.EAGAIN
    assert station.tx.consumer - before == 100, f"budget 100, moved by {station.tx.consumer - before}"
    station.flush()
    same(env.wire.tap.receive(101), frames, "the peer")
    return None


@case(varies=())
def rebind_100(env: Env) -> None:
    """A hundred times bound to the same queue and closed: each time packets flow both ways."""
    for number in range(REBINDS):
        with env.alone(SMALL) as station:
            inbound, outbound = env.inbound(2, first=number), env.outbound(2, first=number)
            same(data(env.deliver(inbound, station)), inbound, f"socket {number}")
            same(env.collect(outbound, station), outbound, f"the peer of socket {number}")


@case(varies=())
def side_by_side(env: Env) -> None:
    """Two labs whose interfaces have the same names do not meet; the end of one leaves the other alone."""
    if not env.site.own:
        env.skip("makes two labs of its own: nothing that this device could prove")
    with contextlib.ExitStack() as right, contextlib.ExitStack() as left:
        envs = []
        for undo in (left, right):
            bench = undo.enter_context(Bench(undo.enter_context(twin_site())))
            envs.append(undo.enter_context(Env(bench, env.mode)))
        stations = [each.station() for each in envs]
        for number, (each, station) in enumerate(zip(envs, stations, strict=True)):
            frames = each.inbound(32, first=100 * number)
            same(data(each.deliver(frames, station)), frames, f"lab {number}")
            assert not stations[1 - number].rx.level, "a frame came to the other lab"
        for each, station in zip(envs, stations, strict=True):
            frames = each.outbound(32)
            same(each.collect(frames, station), frames, "the peer")
            each.settle()
        left.close()
        frames = envs[1].inbound(32, first=1000)
        same(data(envs[1].deliver(frames, stations[1])), frames, "the lab that is left")
        envs[1].settle()


@case(varies=("need_wakeup",))
def handover(env: Env) -> str:
    """A socket goes to another process under traffic (SCM_RIGHTS): no packet is lost, all stay in order."""
    umem = UmemSpec(frames=1024, fill_size=512, completion_size=64)
    spec = SocketSpec(rx_size=512, tx_size=64)
    frames, answer = env.inbound(400), env.outbound(16)
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "labs.conformance.handover", str(theirs.fileno())]
    with ours, theirs, Process(command, run=new_run_id(), pass_fds=[theirs.fileno()]) as heir:
        theirs.close()
        heir.wait_for(lambda: bool(select.select([ours], [], [], 0)[0]), patient(10), "heir")
        ours.recv(1)
        station = env.station(umem, spec)
        with env.sending(frames) as credit:
            credit.taken(len(frames))  # they all fit into the ring
            env.until(lambda: station.rx.level >= KEPT + WAITING, "packets to wait in the ring")
            kept = data(station.consume(KEPT))
            will = Will(umem, spec, env.mode, frames[len(kept) :], answer, station.memory.given)
            waiting = tell(ours, will, station)
            env.forget(station)
            ours.settimeout(patient(10))
            legacy = Legacy.read(ours)
        same(kept, frames[: len(kept)], "the first process")
        assert legacy.error == "", f"the second process: {legacy.error}"
        digest = hashlib.sha256(b"".join(frames[len(kept) :])).hexdigest()
        assert legacy.digest == digest, "the second process got other bytes"
        same(env.wire.tap.receive(len(answer)), answer, "the peer")
        heir.wait(patient(5))
    return f"{len(kept)} packets here, {waiting} waiting in the ring, {len(frames) - len(kept)} there"
