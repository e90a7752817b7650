# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a running forwarder has counted and what stands in its rings, and the rates between two such readings.

Both are plain dictionaries, as they go over the Unix socket and onto stdout: see `lines.schema.json`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import BatchLoop
    from .spec import ForwarderSpec
    from .stats import Counters

SCHEMA = 1  # a change that breaks readers raises it
# Packets that were taken and went nowhere.
DROPS = ("dropped", "not_matched", "tx_ring_full", "callback_failed", "host_full", "host_refused")
LOSSES = ("rx_dropped", "rx_ring_full")  # of XDP_STATISTICS: packets that never reached the forwarder
KICKS = ("tx_kicks", "fill_kicks")


def take(
    spec: ForwarderSpec, loops: Sequence[BatchLoop], counters: Counters, started_ns: int
) -> dict[str, Any]:
    """One reading, of type "snapshot"; while the loops run, from any thread, before they are closed."""
    now = time.monotonic_ns()
    return {
        "type": "snapshot",
        "schema": SCHEMA,
        "pid": os.getpid(),
        "time": time.time(),
        "monotonic_ns": now,
        "uptime_s": (now - started_ns) / 1e9,
        "interface": spec.interface,
        "out": spec.out,
        "action": spec.action,
        "queues": [
            {
                "interface": loop.spec.interface,
                "queue": loop.queue,
                "counters": counters.queue(place),
                "sockets": [
                    {
                        "interface": socket.granted.interface,
                        "queue": socket.granted.queue,
                        "mode": socket.granted.mode,
                        "rings": socket.levels(),
                        "xdp_statistics": socket.statistics(),
                    }
                    for socket in loop.sockets
                ],
            }
            for place, loop in enumerate(loops)
        ],
    }


def interval(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The later reading with what moved since the earlier one, of type "interval".

    Args:
        before: a snapshot.
        after: a later one of the same forwarder.
    """
    seconds = max(after["monotonic_ns"] - before["monotonic_ns"], 1) / 1e9
    # The same places in both: an interface's queue may have the number of another's.
    queues = [
        {**queue, "rates": rates([earlier], [queue], seconds)}
        for earlier, queue in zip(before["queues"], after["queues"], strict=True)
    ]
    return {
        **after,
        "type": "interval",
        "interval_s": seconds,
        "queues": queues,
        "total": rates(before["queues"], after["queues"], seconds),
    }


def rates(
    before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]], seconds: float
) -> dict[str, float | None]:
    """What moved a second, over all queues given.

    Bits are those of the frames without FCS. `packets_per_kick` is packets sent for each sendto(), and None
    where there was none.
    """
    was, now = _sums(before), _sums(after)

    def moved(*names: str) -> int:
        return sum(now.get(name, 0) - was.get(name, 0) for name in names)

    kicks = moved("tx_kicks")
    return {
        "rx_pps": moved("rx_packets") / seconds,
        "rx_bps": moved("rx_bytes") * 8 / seconds,
        "tx_pps": moved("tx_packets") / seconds,
        "tx_bps": moved("tx_bytes") * 8 / seconds,
        "dropped_pps": moved(*DROPS) / seconds,
        "lost_pps": moved(*(f"xdp_{name}" for name in LOSSES)) / seconds,
        "kicks_per_s": moved(*KICKS) / seconds,
        "packets_per_kick": moved("tx_packets") / kicks if kicks else None,
    }


def _sums(queues: Iterable[dict[str, Any]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for queue in queues:
        counts = [queue["counters"].items()]
        for socket in queue["sockets"]:
            counts.append((f"xdp_{name}", value) for name, value in socket["xdp_statistics"].items())
        for items in counts:
            for name, value in items:
                sums[name] = sums.get(name, 0) + value
    return sums
