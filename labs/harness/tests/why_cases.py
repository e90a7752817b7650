# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Evidence as the labs gathered it, a healthy one and one for each cause, to reason from without a kernel."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Mapping
from typing import Any

from labs.harness.why.evidence import Evidence
from labs.harness.why.parts import Device, Frame, Link, Map, Moved, Socket
from xdp.program_facts import ProgramFacts
from xdp.watch_events import Event
from xdp.xskmap_model import NetNamespace, Owner, RingLevel, SocketInfo, Statistics, Umem

GEN, DUT, SINK = 1, 2, 3  # inodes of namespaces
MAP, PROGRAM, OTHER = 17, 40, 41
PROGRAM_FACTS = ProgramFacts(PROGRAM, "redirect_udp", (MAP,), {"udp_port": 4242}, {}, 200)


def ring(level: int = 0, size: int = 64, consumer: int = 200, **other: Any) -> RingLevel:
    return RingLevel(size, consumer + level, consumer, **{"unpublished": 0, "need_wakeup": False, **other})


def info(**changes: Any) -> SocketInfo:
    made = SocketInfo(
        inode=500,
        state="bound",
        queue=0,
        ifindex=2,
        device="dut0",
        netns=NetNamespace(DUT, None, "dut"),
        zero_copy=False,
        multi_buffer=False,
        uses_need_wakeup=True,
        rx=ring(size=128),
        tx=ring(need_wakeup=True),
        fill=ring(level=200, size=256),
        completion=ring(),
        pool_free=0,
        pool_users=1,
        umem=Umem(0, 256 * 2048, 2048, 0, 256, 1, False),
        statistics=Statistics(0, 0, 0, 0, 0, 0),
        owners=(Owner(99, "app", "app"),),
    )
    return dataclasses.replace(made, **changes)


FLOWING = Moved(received=200, read=200, given=200, taken_back=200, queued=200, sent=200, completed=200)


def sock(moved: Moved = FLOWING, slots: tuple[tuple[int, int], ...] = ((MAP, 0),), **changes: Any) -> Socket:
    return Socket(info(**changes), moved, slots)


def dut(counters: Mapping[str, int] | None = None, **changes: Any) -> Device:
    made = Device(
        "dut0",
        2,
        DUT,
        "dut",
        xdp_mode="native",
        program=PROGRAM_FACTS,
        counters=counters
        if counters is not None
        else {"rx_packets": 200, "rx_queue_0_xdp_packets": 200, "rx_queue_0_xdp_redirect": 200},
    )
    return dataclasses.replace(made, **changes)


def gen(**changes: Any) -> Device:
    return dataclasses.replace(
        Device("gen0", 2, GEN, "gen", mac="02:00:00:00:00:01", counters={"tx_packets": 200}), **changes
    )


def link(device: Device | None = None, peer: Device | None = None) -> Link:
    return Link(device or dut(), peer or gen())


def redirect(count: int = 200, error: int = 0) -> Event:
    kind = "redirect_err" if error else "redirect"
    return Event(kind, 2, DUT, PROGRAM, MAP, 0, error, count=count)


def frame(**changes: Any) -> Frame:
    text = "UDP 192.168.1.10:40000 → 192.168.1.20:4242"
    return dataclasses.replace(
        Frame("gen0", False, 60, text=text, count=200, verdict="XDP_REDIRECT"), **changes
    )


def xskmap(slots: Mapping[int, int] | None = None, number: int = MAP) -> Map:
    return Map(number, "xsks_map", 64, {0: 500} if slots is None else slots)


HEALTHY = Evidence(
    link=link(), maps=(xskmap(),), sockets=(sock(),), events=(redirect(),), frames=(frame(),), since="in 1 s"
)
# A program that redirects nothing leaves these.
PASSED = {"rx_packets": 200, "rx_queue_0_xdp_packets": 200}
IDLE = Moved()


def but(**changes: Any) -> Evidence:
    return dataclasses.replace(HEALTHY, **changes)


def failing(error: int, moved: Moved = IDLE, **changes: Any) -> Evidence:
    """All redirects fail."""
    return but(
        link=link(dut({**PASSED, "rx_queue_0_drops": 200})),
        events=(redirect(error=error),),
        sockets=(sock(moved, **changes),),
    )


def unmatched(**changes: Any) -> Evidence:
    """The program passes all."""
    return but(
        link=link(dut(PASSED)),
        events=(),
        sockets=(sock(IDLE),),
        frames=(frame(verdict="XDP_PASS", **changes),),
    )


def egress(**changes: Any) -> Link:
    device = Device("dut1", 3, DUT, "dut", **changes)
    return Link(device, Device("sink0", 2, SINK, "sink", mac="02:00:00:00:00:09"))


def _elsewhere() -> Evidence:
    return but(
        link=link(dut({"rx_packets": 200}, program=None, xdp_mode="none")),
        attached=(Device("dut1", 3, DUT, "dut", xdp_mode="native", program=PROGRAM_FACTS),),
        sockets=(sock(IDLE),),
        events=(),
    )


def _bound_elsewhere() -> Evidence:
    moved = sock(IDLE, ifindex=3, device="dut1")
    return but(link=link(dut(PASSED)), sockets=(moved,), events=(redirect(error=errno.EINVAL),))


def _wrong_mac() -> Evidence:
    sending = Socket(info(inode=501, ifindex=3, device="dut1", rx=None), FLOWING)
    strange = frame(at="sink0", incoming=True, destination="02:00:00:00:00:01", other_host=True, verdict=None)
    return but(sockets=(sock(), sending), egress=(egress(),), frames=(frame(), strange))


def _no_napi_behind() -> Evidence:
    refused = Event("redirect_err", 2, DUT, OTHER, 0, 3, errno.EOPNOTSUPP, count=200)
    plain = ProgramFacts(OTHER, "emit", runs=200)
    return but(
        link=link(dut(PASSED, program=plain)), maps=(), sockets=(), events=(refused,), egress=(egress(),)
    )


def _no_napi_before() -> Evidence:
    refused = Event("redirect_err", 1, GEN, OTHER, 0, 2, errno.EOPNOTSUPP, count=200)
    quiet = dut({}, xdp_mode="generic", program=dataclasses.replace(PROGRAM_FACTS, runs=0))
    return but(link=link(quiet, gen(counters={})), sockets=(sock(IDLE),), events=(refused,), frames=())


STUCK = Moved(received=0)
GONE: dict[str, Any] = {"state": "unbound", "ifindex": None, "device": None}
STARVED = Moved(no_frame=200, dropped=200)
TOO_LONG = Moved(dropped=200)
EMPTY_FILL = ring(size=256, consumer=64)
LEAKED_FILL = ring(size=256, consumer=256)

# Name of the cause → what the labs saw of it.
CASES: dict[str, list[Callable[[], Evidence]]] = {
    "link_down": [
        lambda: but(link=link(dut({}, up=False)), events=(), sockets=(sock(IDLE),)),
        lambda: but(egress=(egress(up=False),)),
    ],
    "peer_down": [
        lambda: but(
            link=link(dut({}, carrier=False), gen(up=False, counters={})), events=(), sockets=(sock(IDLE),)
        ),
        lambda: but(egress=(egress(carrier=False),)),
    ],
    "attached_elsewhere": [_elsewhere, _bound_elsewhere],
    "not_attached": [
        lambda: but(
            link=link(dut({"rx_packets": 200}, program=None, xdp_mode="none")),
            events=(),
            sockets=(sock(IDLE),),
        )
    ],
    "generic_mode": [lambda: but(link=link(dut(xdp_mode="generic")), want="native")],
    "peer_without_napi": [_no_napi_before, _no_napi_behind],
    "other_program": [
        lambda: but(
            link=link(dut(PASSED, program=ProgramFacts(OTHER, "xdp_pass"))), events=(), sockets=(sock(IDLE),)
        ),
        lambda: but(
            link=link(dut(PASSED, program=ProgramFacts(OTHER, "redirect_queue", (18,)))),
            maps=(xskmap(), xskmap({}, 18)),
            events=(),
            sockets=(sock(IDLE),),
        ),
    ],
    "map_empty": [
        lambda: but(link=link(dut(PASSED)), maps=(xskmap({}),), sockets=(), events=()),
        lambda: but(link=link(dut(PASSED)), maps=(xskmap({}),), sockets=(sock(IDLE, ()),), events=()),
    ],
    "socket_dead": [
        lambda: failing(errno.ENXIO, **GONE),
        lambda: failing(errno.ENXIO, state="ready", ifindex=None, device=None),
    ],
    "mtu": [
        lambda: but(
            link=link(dut({"rx_dropped": 200}, mtu=1000, program=dataclasses.replace(PROGRAM_FACTS, runs=0))),
            events=(),
            sockets=(sock(IDLE),),
            frames=(frame(length=1442),),
        )
    ],
    "completion_full": [
        lambda: but(sockets=(sock(STUCK, completion=ring(64), tx=ring(64)),)),
        lambda: but(sockets=(sock(STUCK, completion=ring(60, unpublished=4), tx=ring(5)),)),
    ],
    "tx_not_kicked": [lambda: but(sockets=(sock(Moved(received=200, read=200, queued=7), tx=ring(7)),))],
    "nothing_sent": [
        lambda: but(
            link=link(dut({}, program=dataclasses.replace(PROGRAM_FACTS, runs=0)), gen(counters={})),
            sockets=(sock(IDLE),),
            events=(),
            frames=(),
        )
    ],
    "vlan_tag": [lambda: unmatched(vlans=(7,), untagged="XDP_REDIRECT")],
    "not_matched": [
        lambda: unmatched(constant="XDP_REDIRECT"),
        lambda: unmatched(fragment=True),
        lambda: unmatched(vlans=(7,), untagged="XDP_PASS"),
        lambda: but(link=link(dut(PASSED)), events=(), sockets=(sock(IDLE),), frames=()),
    ],
    "wrong_queue": [
        lambda: failing(errno.EINVAL, queue=1),
        lambda: but(
            link=link(dut(PASSED)),
            maps=(xskmap({1: 500}),),
            sockets=(sock(IDLE, ((MAP, 1),), queue=1),),
            events=(),
        ),
    ],
    "super_frames": [
        lambda: dataclasses.replace(
            failing(errno.ENOSPC, TOO_LONG), frames=(frame(length=10042, gso_bytes=1000, partial=True),)
        ),
        lambda: dataclasses.replace(
            failing(errno.ENOSPC, TOO_LONG),
            link=link(dut({"rx_packets": 9}, xdp_mode="generic", features=frozenset({"rx-gro"}))),
        ),
    ],
    "frame_too_long": [
        lambda: dataclasses.replace(failing(errno.ENOSPC, TOO_LONG), frames=(frame(length=2542),)),
    ],
    "rx_ring_full": [
        lambda: failing(errno.ENOBUFS, Moved(ring_full=200), rx=ring(128, size=128)),
        lambda: failing(
            errno.ENOMEM, STARVED, rx=ring(100, 128, consumer=0), fill=ring(0, 256, consumer=100)
        ),
    ],
    "fill_not_kicked": [
        lambda: but(sockets=(sock(IDLE, fill=ring(200, 256, need_wakeup=True), zero_copy=True),)),
        lambda: but(  # and the card holds the sender up
            link=link(dut({}, program=dataclasses.replace(PROGRAM_FACTS, runs=0)), gen(counters={})),
            sockets=(sock(IDLE, fill=ring(200, 256, need_wakeup=True), zero_copy=True),),
            events=(),
            frames=(),
        ),
    ],
    "umem_exhausted": [lambda: failing(errno.ENOMEM, STARVED, fill=LEAKED_FILL)],
    "fill_empty": [
        lambda: failing(errno.ENOMEM, STARVED, fill=EMPTY_FILL),
        # a packet came between the reading of one counter and of the other
        lambda: failing(
            errno.ENOMEM, dataclasses.replace(STARVED, dropped=STARVED.dropped + 1), fill=EMPTY_FILL
        ),
        # Linux 5.10 has one errno for what a socket did not take
        lambda: failing(errno.ENOSPC, STARVED, fill=EMPTY_FILL),
    ],
    "partial_checksum": [lambda: but(frames=(frame(partial=True),))],
    "wrong_mac": [_wrong_mac],
}
ALL = [
    (f"{name}-{number}" if number else name, name, make)
    for name, cases in CASES.items()
    for number, make in enumerate(cases)
]
