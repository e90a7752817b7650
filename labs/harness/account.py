# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From what was counted along a pipeline to its ledger: which counter tells of which hop."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from labs.harness.ledger import Fate, Hop, Ledger
from labs.harness.receiver import ReceivedReport

PASSES = "host_"  # a packet that the program passed ends in the host's stack: fate "host_<class>"
REDIRECTED = "redirected"


@dataclass(frozen=True)
class Arrived:
    """What came back: datagrams as sent, further copies, damaged ones, dropped at the socket."""

    received: int = 0
    duplicates: int = 0
    corrupt: int = 0
    unexpected: int = 0
    socket_full: int = 0

    @classmethod
    def of(cls, report: ReceivedReport) -> Arrived:
        """From what a receiver found."""
        return cls(
            received=report.unique - report.corrupt,
            duplicates=report.duplicates,
            corrupt=report.corrupt,
            unexpected=report.unexpected + report.unstamped,
            socket_full=report.kernel_drops,
        )

    @property
    def total(self) -> int:
        """All that reached the socket."""
        return self.received + self.duplicates + self.corrupt + self.unexpected + self.socket_full


def account(
    sent: int,
    counted: Mapping[str, int],
    arrived: Arrived,
    *,
    native: bool,
    ingress: str = "dut0",
    egress: str = "dut0",
    sender: str = "gen0",
    delivered: Collection[str] = ("receiver/received",),
    host_sent: int = 0,
    expected: Mapping[str, int] | None = None,
) -> Ledger:
    """The ledger of a run.

    Args:
        sent: frames that the sender put on its device.
        counted: differences over the run, named as by `Pipeline.counters`.
        arrived: what the receiver found; nothing for a forwarder that sends nothing.
        native: the program is attached in native mode: then the driver counts redirects itself, and the
            program's count is held against the driver's.
        ingress: the device with the program.
        egress: the device that the forwarder sends out of.
        sender: the sender's device.
        delivered: where frames are meant to end, "hop/fate".
        host_sent: frames that the DUT's own stack sent out of `egress` (answers to ping, say).
        expected: losses that are part of the test, "hop/fate" → frames.
    """
    program, forwarder = _of(counted, "program"), _of(counted, "forwarder")
    arrivals = _queues(counted, ingress, "xdp_packets") if native else counted[f"{ingress}_rx_packets"]

    rings = {"rx_ring_full": counted["xsk_rx_ring_full"], "no_frame": counted["xsk_rx_dropped"]}
    taken, waiting = forwarder.get("rx_packets", 0), counted["xsk_rx_level"]
    redirected = taken + waiting + sum(rings.values())
    if native:
        failed = _queues(counted, ingress, "drops")
        # What no socket counted was refused by the redirect itself: another queue, a socket that is gone.
        rings["refused"] = max(failed - sum(rings.values()), 0)
        redirected = _queues(counted, ingress, "xdp_redirect") + failed
    # Beside its own count, the program's redirects are known from what the driver, or else the socket, saw.
    entered = redirected if native or not program else program.get(REDIRECTED, 0)
    if program:
        redirected = program.get(REDIRECTED, 0)
        ended = {PASSES + name: count for name, count in program.items() if name != REDIRECTED}
        decided_on = sum(program.values())
    else:
        ended = _foreign_verdicts(counted, ingress, arrivals - redirected)
        decided_on = arrivals

    decisions = ("dropped", "not_matched", "tx_ring_full", "callback_failed")
    decided = {name: forwarder.get(name, 0) for name in decisions}
    queued, completed = forwarder.get("tx_packets", 0), forwarder.get("tx_completed", 0)
    in_tx = {"waiting": max(queued - completed, 0), "refused_by_device": forwarder.get("tx_ebusy", 0)}
    back = max(counted[f"{egress}_tx_packets"] - host_sent, 0)

    hops = [
        _hop("sender", sent, {"device_refused": counted[f"{sender}_tx_dropped"]}, arrivals, delivered),
        _hop("xdp", decided_on, ended, redirected, delivered),
        _hop("redirect", entered, rings, taken + waiting, delivered),
        _hop("rx_ring", taken + waiting, {"waiting": waiting}, taken, delivered),
        _hop("forwarder", taken, decided, queued, delivered),
        _hop("tx", queued, in_tx, back, delivered),
        _hop(
            "receiver",
            arrived.total,
            {
                "received": arrived.received,
                "duplicate": arrived.duplicates,
                "corrupt": arrived.corrupt,
                "unexpected": arrived.unexpected,
                "socket_full": arrived.socket_full,
            },
            0,
            delivered,
        ),
    ]
    return Ledger(sent, tuple(hops), dict(expected or {}))


def _foreign_verdicts(counted: Mapping[str, int], ingress: str, others: int) -> dict[str, int]:
    """What else a program did that has no counters of ours; what the driver does not count was passed.

    In generic mode nobody counts drops: then passed is passed or dropped.
    """
    fates = {
        "dropped": _queues(counted, ingress, "xdp_drops"),
        "sent_back": _queues(counted, ingress, "xdp_tx"),
    }
    return {**fates, PASSES + "passed": max(others - sum(fates.values()), 0)}


def _hop(name: str, entered: int, fates: Mapping[str, int], onward: int, delivered: Collection[str]) -> Hop:
    return Hop(
        name,
        entered,
        tuple(Fate(fate, count, f"{name}/{fate}" in delivered) for fate, count in fates.items()),
        onward,
    )


def _of(counted: Mapping[str, int], where: str) -> dict[str, int]:
    prefix = where + "_"
    return {name.removeprefix(prefix): count for name, count in counted.items() if name.startswith(prefix)}


def _queues(counted: Mapping[str, int], interface: str, counter: str) -> int:
    """A counter of `ethtool -S` summed over the RX queues of a device."""
    pattern = re.compile(rf"{re.escape(interface)}_rx_queue_\d+_{counter}")
    return sum(count for name, count in counted.items() if pattern.fullmatch(name))
