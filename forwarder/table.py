# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A forwarder's interval as a table for people, 80 columns wide; rich is imported only here, and late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

# Counters that stay 0 in a sound forwarder on a device that keeps up.
FAULTS = (
    "rx_invalid",
    "tx_ring_full",
    "callback_failed",
    "host_full",
    "host_refused",
    "tx_invalid",
    "tx_ebusy",
    "tx_enobufs",
    "tx_enetdown",
    "tx_enxio",
    "tx_enomem",
    "tx_einval",
    "tx_other",
    "mirror_refused",
    "mirror_no_frame",
    "mirror_ring_full",
    "capture_skipped",
    "fill_ebusy",
    "fill_enobufs",
    "fill_enetdown",
    "fill_enxio",
    "fill_other",
    "poll_failed",
    "owner_violations",
)
RINGS = ("rx", "tx", "fill", "completion")
# rate → head of its column
_RATES = {
    "rx_pps": "rx pps",
    "rx_bps": "bit/s",
    "tx_pps": "tx pps",
    "dropped_pps": "drop",
    "lost_pps": "lost",
    "kicks_per_s": "kicks",
    "packets_per_kick": "/kick",
}


def table(interval: dict[str, Any]) -> RenderableType:
    """Rates of each queue, levels of its sockets' rings, and what went wrong since the start."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.HORIZONTALS, show_edge=False, padding=(0, 0), pad_edge=False)
    grid.add_column("queue", no_wrap=True)
    for head in (*_RATES.values(), "rx", "tx", "fill", "compl"):
        grid.add_column(head, justify="right", no_wrap=True, min_width=5)
    for queue in interval["queues"]:
        for place, socket in enumerate(queue["sockets"]):
            cells = [_rate(queue["rates"], name) for name in _RATES] if not place else [""] * len(_RATES)
            levels = [str(socket["rings"][ring]) for ring in RINGS]
            grid.add_row(Text(_clean(f"{socket['interface']} {socket['queue']}")), *cells, *levels)
    if len(interval["queues"]) > 1:
        grid.add_section()
        grid.add_row("all", *(_rate(interval["total"], name) for name in _RATES), *[""] * len(RINGS))
    faults = list(_faults(interval["queues"]))
    return Group(
        Text(title(interval), style="bold"),
        grid,
        Text("since the start: " + ", ".join(faults), style="red")
        if faults
        else Text("no errors", style="dim"),
    )


def title(interval: dict[str, Any]) -> str:
    """One line: who, what, where, for how long."""
    way = f"{interval['interface']} to {interval['out']}" if interval["out"] else interval["interface"]
    modes = sorted({socket["mode"] for queue in interval["queues"] for socket in queue["sockets"]})
    return _clean(
        f"pid {interval['pid']}: {interval['action']} on {way}, {', '.join(modes)} mode, "
        f"up {_duration(interval['uptime_s'])}"
    )


def _faults(queues: list[dict[str, Any]]) -> Iterator[str]:
    for name in FAULTS:
        count = sum(queue["counters"].get(name, 0) for queue in queues)
        if count:
            yield f"{name} {count:,}"
    statistics = [socket["xdp_statistics"] for queue in queues for socket in queue["sockets"]]
    for name in statistics[0] if statistics else ():
        # The kernel counts each look into an empty TX ring there: that is no fault.
        count = sum(each.get(name, 0) for each in statistics)
        if count and name != "tx_ring_empty_descs":
            yield f"{_clean(name)} {count:,}"


def _rate(rates: dict[str, float | None], name: str) -> str:
    value = rates[name]
    if value is None:
        return "-"
    return f"{value:.1f}" if name == "packets_per_kick" else short(value)


def short(value: float) -> str:
    """At most five characters: 640, 12.3k, 3.45M."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            number = value / factor
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}{suffix}"
    return f"{value:.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02}:{rest:02}"
        if hours
        else f"{minutes}:{rest:02}"
        if minutes
        else f"{seconds:.1f} s"
    )


def _clean(text: str) -> str:
    """Safe for a terminal: it may come from another process."""
    return "".join(each if each.isprintable() else "?" for each in text)
