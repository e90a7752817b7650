# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From what was counted along a pipeline to its ledger: which counter tells of which hop.

Each hop is counted by another witness: the sender, the driver, the program, the socket, the forwarder, the
receiver. What the kernel's tracepoints say (`kernel_…`, see `Pipeline.count`) is held against them: it names
reasons, and is a fate of its own only where no other counter sees the frame end (a stack that drops it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from labs.harness.account_counts import (
    Route,
    at_least_0,
    is_virtio,
    make_hop,
    named,
    of,
    queues,
    sent_out,
)
from labs.harness.account_verdicts import (
    PASSES,
    REDIRECTED,
    dropped_by_program,
    other_verdicts,
    seen,
    sent_back_by_program,
    xdp_hop,
)
from labs.harness.arrived import SEEN, SINK, Arrived
from labs.harness.ledger import Causes, Fate, Hop, Ledger
from xdp.watch_names import UNSAID

QUEUE = "qdisc_drops"  # of the devices that have a queue
MISSED = "kernel_missed"  # counted only where the tracepoints are
# net/xdp/xsk.c, __xsk_rcv() and xsk_rcv_check(): what a failed redirect to an AF_XDP socket means. Any other
# errno is a refusal: EINVAL another device or queue, ENXIO not bound.
ERRNO_RING_FULL, ERRNO_NO_FRAME, ERRNO_TOO_LONG = "ENOBUFS", "ENOMEM", "ENOSPC"
FILL_EMPTY = "xsk_rx_fill_ring_empty_descs"
# An skb that ends so was a frame that another counter holds already: refused by a full ring, dropped by XDP,
# a capture's copy, or at the receiver's full socket.
BY_QUEUE = "QDISC_"
DROPPED_BY_XDP, CAPTURE, SOCKET_FULL = "XDP", "PACKET_SOCK_ERROR", "SOCKET_RCVBUFF"


def account(
    sent: int,
    counted: Mapping[str, int],
    arrived: Arrived,
    route: Route,
    *,
    delivered: Collection[str] = ("receiver/received", "sink/received"),
    host_sent: int = 0,
    retried: int = 0,
    expected: Mapping[str, int] | None = None,
) -> Ledger:
    """The ledger of a run.

    Args:
        sent: frames that the sender put on its device.
        counted: differences over the run, named as by `Pipeline.count`.
        arrived: what the receiver or the sink found; nothing for a forwarder that sends nothing.
        route: the devices.
        delivered: where frames are meant to end, "hop/fate".
        host_sent: frames that the DUT's own stack sent out of the egress device (answers to ping, say).
        retried: frames that the sender's device refused and that the sender offered again: no loss.
        expected: losses that are part of the test, "hop/fate" → frames.
    """
    forwarder_hops = _forwarder(counted, route, host_sent)
    redirect = _redirect(counted, route, forwarder_hops[0].entered)
    hops = [
        *_sender_and_verdict(sent, counted, route, retried, redirect.entered),
        redirect,
        *forwarder_hops,
        *_arrival(counted, route, arrived, forwarder_hops[-1].onward),
    ]
    hops = [_marked(hop, delivered) for hop in hops]
    causes = [
        *_causes(counted, route, hops),
        *other_verdicts(counted, hops[1]),
        *_never_came(sent, arrived, hops),
    ]
    return Ledger(sent, tuple(hops), dict(expected or {}), causes=tuple(causes))


def _sender_and_verdict(
    sent: int, counted: Mapping[str, int], route: Route, retried: int, redirected: int
) -> list[Hop]:
    arrivals = counted[f"{route.ingress}_rx_packets"]
    if route.native:
        arrivals = queues(counted, route.ingress, "xdp_packets")
    # What the queue before the device does not take the sender is told, too, and offers again.
    queue = counted.get(f"{route.sender}_{QUEUE}")
    refused = at_least_0(counted[f"{route.sender}_tx_dropped"] - at_least_0(retried - (queue or 0)))
    ends = {"device_refused": refused}
    if queue is not None:
        ends["queue_dropped"] = at_least_0(queue - retried)
    return [
        make_hop("sender", sent, ends, arrivals),
        xdp_hop(counted, route, arrivals, redirected),
    ]


def _redirect(counted: Mapping[str, int], route: Route, onward: int) -> Hop:
    no_frame = at_least_0(counted["xsk_rx_dropped"])
    fates = {"rx_ring_full": at_least_0(counted["xsk_rx_ring_full"]), "no_frame": no_frame}
    if MISSED in counted:
        errors = redirect_errors(counted, route.ingress)
        # The socket counts both as rx_dropped; the fill ring counts by itself how often it had no frame.
        without = at_least_0(no_frame - counted.get(FILL_EMPTY, 0))
        too_long = min(errors.get(ERRNO_TOO_LONG, 0), without)
        fates |= {"no_frame": no_frame - too_long, "too_long": too_long}
        fates["refused"] = sum(count for name, count in errors.items() if name not in _FATE_OF_ERRNO)
    elif route.native:
        # What no socket counted was refused by the redirect itself: another queue, a socket that is gone.
        fates["refused"] = at_least_0(queues(counted, route.ingress, "drops") - sum(fates.values()))
    else:
        fates["refused"] = 0
    if route.native:
        entered = queues(counted, route.ingress, "xdp_redirect")
        if not is_virtio(counted, route.ingress):
            # A failed redirect is in the driver's "drops", and not in its "xdp_redirect"; virtio has both.
            entered += queues(counted, route.ingress, "drops")
    else:  # the driver sees nothing of it; a program that does not count leaves what the socket saw
        verdicts = seen(counted) or {}
        by_program = of(counted, "program").get(REDIRECTED, onward + sum(fates.values()))
        entered = verdicts.get("redirect", by_program)
    return make_hop("redirect", entered, fates, onward)


def _forwarder(counted: Mapping[str, int], route: Route, host_sent: int) -> list[Hop]:
    """From the RX rings to the egress device."""
    forwarder = of(counted, "forwarder")
    taken, invalid = forwarder.get("rx_packets", 0), forwarder.get("rx_invalid", 0)
    waiting = at_least_0(counted["xsk_rx_level"])
    entered = waiting + invalid + taken
    decisions = ("dropped", "not_matched", "tx_ring_full", "callback_failed", "host_full", "host_refused")
    decided = {name: forwarder.get(name, 0) for name in decisions} | {
        "host": forwarder.get("host_packets", 0)
    }
    queued, completed = forwarder.get("tx_packets", 0), forwarder.get("tx_completed", 0)
    by_program = sent_back_by_program(counted, route) if route.egress == route.ingress else 0
    back = at_least_0(sent_out(counted, route.egress) - host_sent - by_program)
    in_tx = {
        "waiting": at_least_0(queued - completed),
        "refused_by_device": forwarder.get("tx_ebusy", 0),
        "invalid": at_least_0(counted.get("xsk_tx_invalid_descs", 0)),
    }
    return [
        make_hop("rx_ring", entered, {"waiting": waiting, "invalid": invalid}, taken),
        make_hop("forwarder", taken, decided, queued),
        make_hop("tx", queued, in_tx, back),
    ]


def _arrival(counted: Mapping[str, int], route: Route, arrived: Arrived, back: int) -> list[Hop]:
    if arrived.by == SINK:  # an XDP program: nothing lies between the device and it
        return [
            make_hop("egress", back, {}, arrived.total),
            make_hop(arrived.by, arrived.total, arrived.fates(), 0),
        ]
    # What an XDP program drops there is the receiver's to tell: it is one.
    elsewhere = counted[f"{route.egress}_tx_dropped"] + queues(counted, route.arrival, "xdp_drops")
    dropped = stack_drops(counted, route.arrival, refused=elsewhere)
    dropped.pop(SOCKET_FULL, None)  # the socket counts these itself
    if route.egress == route.ingress:
        # What the program sent back ended at its own hop; the stack here does not tell whose frames it drops.
        surplus = sum(dropped.values()) + arrived.total - back
        surplus = min(at_least_0(surplus), sent_back_by_program(counted, route))
        for name in dropped:
            less = min(dropped[name], surplus)
            dropped[name], surplus = dropped[name] - less, surplus - less
    return [
        make_hop("egress", back, dropped, arrived.total),
        make_hop(arrived.by, arrived.total, arrived.fates(), 0),
    ]


def _never_came(sent: int, arrived: Arrived, hops: Collection[Hop]) -> list[Causes]:
    """By the sink's own list of numbers: those not in it are the frames that the hops lost, in all."""
    if arrived.never is None or arrived.expected != sent:
        return []
    others = [f"{hop.name}/{fate.name}" for hop in hops for fate in hop.fates]
    lost = tuple(path for path in others if path not in [f"{SINK}/{name}" for name in SEEN])
    named = {"NEVER_CAME": arrived.never, "CAME_DAMAGED": arrived.damaged}
    return [Causes(lost, {why: count for why, count in named.items() if count}, witness="the sink")]


def _causes(counted: Mapping[str, int], route: Route, hops: Collection[Hop]) -> list[Causes]:
    """What the kernel named of frames that other counters saw end."""
    if MISSED not in counted:
        return []
    found = []
    errors = redirect_errors(counted, route.ingress)
    of_fate: dict[str, dict[str, int]] = {"rx_ring_full": {}, "no_frame": {}, "too_long": {}, "refused": {}}
    ended = {f"{hop.name}/{fate.name}": fate.count for hop in hops for fate in hop.fates}
    one_for_all = errors.get(ERRNO_TOO_LONG, 0)
    if one_for_all > ended["redirect/too_long"]:
        # Linux 5.10 has this errno for whatever a socket did not take: the witness knows the sum only.
        untaken = tuple(f"redirect/{fate}" for fate in _FATE_OF_ERRNO.values())
        reasons = {name: errors.pop(name) for name in _FATE_OF_ERRNO if name in errors}
        found.append(Causes(untaken, reasons, missed=at_least_0(counted[MISSED])))
        of_fate = {"refused": {}}
    for name, count in errors.items():
        of_fate[_FATE_OF_ERRNO.get(name, "refused")][name] = count
    for fate, reasons in of_fate.items():
        if reasons or ended[f"redirect/{fate}"]:
            found.append(Causes((f"redirect/{fate}",), reasons, missed=at_least_0(counted[MISSED])))
    refused = counted[f"{route.sender}_tx_dropped"]
    dropped = stack_drops(counted, route.ingress, refused=refused + dropped_by_program(counted, route))
    passed = tuple(path for path, count in ended.items() if path.startswith(f"xdp/{PASSES}") and count)
    if passed and dropped:
        # Which class a dropped packet was of the kernel does not tell; of several classes it is their sum.
        found.append(Causes(passed, dropped, exact=False))
    return found


def stack_drops(counted: Mapping[str, int], device: str, *, refused: int = 0) -> dict[str, int]:
    """Reason → frames that the stack behind a device dropped, as the kernel named them.

    Args:
        counted: differences over a run.
        device: where the frames came in.
        refused: frames that never reached the stack, and that the kernel drops with no reason given.
    """
    found = named(counted, device, "skb")
    found.pop(CAPTURE, None)
    # Those kernels that have this reason do not count it among the unsaid.
    by_xdp = found.pop(DROPPED_BY_XDP, 0)
    # What the device's own queue dropped on the way out; older kernels have no name for it.
    by_queue = sum([found.pop(name) for name in list(found) if name.startswith(BY_QUEUE)])
    unnamed = at_least_0(counted.get(f"{device}_{QUEUE}", 0) - by_queue)
    unsaid = found.pop(UNSAID, 0) - at_least_0(refused - by_xdp) - unnamed
    return {**found, UNSAID: unsaid} if unsaid > 0 else found


def redirect_errors(counted: Mapping[str, int], device: str) -> dict[str, int]:
    """Errno's name → frames that arrived at a device and whose redirect failed, as the kernel named them."""
    return named(counted, device, "redirect_err")


_FATE_OF_ERRNO = {ERRNO_RING_FULL: "rx_ring_full", ERRNO_NO_FRAME: "no_frame", ERRNO_TOO_LONG: "too_long"}


def _marked(hop: Hop, delivered: Collection[str]) -> Hop:
    fates = (Fate(one.name, one.count, f"{hop.name}/{one.name}" in delivered) for one in hop.fates)
    return dataclasses.replace(hop, fates=tuple(fates))
