# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""XSKMAPs as tables for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .xskmap_model import RingLevel, Slot, SocketInfo, Statistics, Umem, XskMap

if TYPE_CHECKING:
    from rich.console import RenderableType

# Counter → words for the one who has to find the cause.
_LOSSES = {
    "rx_dropped": "RX dropped",
    "rx_ring_full": "RX ring full",
    "rx_fill_ring_empty_descs": "fill ring empty",
    "rx_invalid_descs": "bad fill descs",
    "tx_invalid_descs": "bad TX descs",
}

_ABOVE_SCRIPT = re.compile(r"(?<= )/\S*/(?=[^/ ]+/[^/ ]+\.py(?: |$))")


def title(xskmap: XskMap) -> str:
    """One line: which map, how full, used by which programs."""
    programs = ", ".join(f"{program.id} {program.name}" for program in xskmap.programs)
    return (
        f"XSKMAP {xskmap.id} {xskmap.name}: {len(xskmap.occupied)} of {xskmap.max_entries} slots occupied, "
        + (f"used by program {programs}" if programs else "used by no program")
    )


def table(xskmaps: Sequence[XskMap], *, only_occupied: bool = False) -> RenderableType:
    """What `xdplab xskmap` prints."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for xskmap in xskmaps:
        parts.append(Text(title(xskmap), style="bold"))
        if xskmap.method == "probe":
            parts.append(Text(f"only occupancy is known ({xskmap.note or 'asked for'})", style="yellow"))
        parts.append(_slots(xskmap, only_occupied))
    return Group(*parts) if parts else Text("there is no XSKMAP on this system")


def _slots(xskmap: XskMap, only_occupied: bool) -> RenderableType:
    from rich import box
    from rich.table import Table

    grid = Table(box=box.HORIZONTALS, padding=(0, 1), pad_edge=False)
    grid.add_column("slot", justify="right", no_wrap=True)
    grid.add_column("socket", overflow="fold")
    if xskmap.sockets:
        grid.add_column("rings", no_wrap=True)
        grid.add_column("UMEM, losses", no_wrap=True)
    for first, last in runs(xskmap.slots):
        slot = xskmap.slots[first]
        label = str(first) if first == last else f"{first}-{last}"
        if slot.socket:
            memory = f"{_umem(slot.socket)}\n{_lost(slot.socket)}"
            grid.add_row(label, _socket(slot.socket), _rings(slot.socket), memory)
        elif slot.occupied:
            grid.add_row(label, "occupied")
        elif not only_occupied:
            grid.add_row(label, "[dim]empty[/dim]")
    return grid


def runs(slots: Sequence[Slot]) -> Iterator[tuple[int, int]]:
    """First and last index of each stretch of slots that one line tells: a socket has a line of its own."""
    first = 0
    for index in range(1, len(slots) + 1):
        same = (
            index < len(slots)
            and not slots[index].socket
            and not slots[first].socket
            and slots[index].occupied == slots[first].occupied
        )
        if not same:
            yield first, index - 1
            first = index


def _socket(socket: SocketInfo) -> RenderableType:
    from rich.text import Text

    device = socket.device or "no device"
    mode = "zero-copy" if socket.zero_copy else "copy"
    style = "green" if socket.state == "bound" else "yellow"
    text = Text()
    text.append(f"{device} queue {socket.queue}", style="bold")
    text.append(f", {mode}, ")
    text.append(socket.state, style=style)
    text.append(f"\nin {socket.netns.name}\nsocket:[{socket.inode}]")
    for owner in socket.owners:
        text.append(f"\npid {owner.pid} ", style="bold")
        text.append(shortened(owner.command, 60))
    if not socket.owners:
        text.append("\nno process found", style="yellow")
    return text


def shortened(command: str, length: int) -> str:
    """The command line without its program's folder, nor those above a Python script's, cut at the end.

    Safe for a terminal: it is another process's choice.
    """
    command = "".join(each if each.isprintable() else "?" for each in command)
    program, space, arguments = command.partition(" ")
    if program.startswith(("/", ".")):
        command = program.rsplit("/", 1)[-1] + space + arguments
    command = _ABOVE_SCRIPT.sub("", command, 1)
    return command if len(command) <= length else f"{command[: length - 1]}…"


def _rings(socket: SocketInfo) -> RenderableType:
    rings = {"rx": socket.rx, "tx": socket.tx, "fill": socket.fill, "compl": socket.completion}
    lines = [_ring(name, ring) for name, ring in rings.items()]
    if socket.pool_free is not None:
        lines.append(f"pool  {socket.pool_free:>5} held")
    return "\n".join(lines)


def _ring(name: str, ring: RingLevel | None) -> str:
    if ring is None:
        return f"[dim]{name:<5} {'none':>5}[/dim]"
    text = f"{name:<5} {ring.level:>5}/{ring.size}"
    if ring.level > ring.size:
        return f"[red]{text}[/red] wrong"
    return f"{text} wakeup" if ring.need_wakeup else text


def _umem(socket: SocketInfo) -> str:
    umem: Umem | None = socket.umem
    if umem is None:
        return "[dim]no UMEM[/dim]"
    chunks = umem.size // umem.chunk_size if umem.chunks is None and umem.chunk_size else umem.chunks
    size = f"{umem.size / 1024:.0f} KiB" if umem.size < 1 << 20 else f"{umem.size / (1 << 20):.0f} MiB"
    lines = [f"{size}, {chunks} x {umem.chunk_size} B", f"headroom {umem.headroom} B"]
    lines += [f"id {umem.id}, users {umem.users}"]
    return "\n".join([*lines, "unaligned"] if umem.unaligned else lines)


def _lost(socket: SocketInfo) -> str:
    statistics: Statistics = socket.statistics
    counts = {words: getattr(statistics, name) for name, words in _LOSSES.items()}
    lines = [f"[red]{words} {count}[/red]" for words, count in counts.items() if count]
    return "\n".join(lines) or "[dim]lost nothing[/dim]"
