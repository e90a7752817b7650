# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A ledger as a picture: frames flow from hop to hop, and what ends at a hop falls out of the flow there.

Plain SVG, drawn here, so that a run needs no plotting library. A band is as wide as its frames; each is at
least a hair, so that one lost frame in a million is still seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from labs.harness.ledger import Fate, Hop, Ledger

COLUMN = 172  # pixels from hop to hop
BAR = 12
FLOW = 150  # height of the band of all frames
LEFT, TOP, RIGHT = 24, 96, 40
FALL = 52  # from the flow to the first label
ROW = 48  # a fate's label: count, name, the kernel's reasons
TAIL, STEP = 14.0, 17.0  # widest end of a falling band, and from one to the next
HAIR = 1.5
COLOURS = {
    "flow": "#9db8d2",
    "bar": "#3b5b7c",
    "delivered": "#5a9e6f",
    "lost": "#d9822b",
    "broken": "#c0392b",
}
CHARACTERS = 25  # of a label, so that it stays in its column


@dataclass(frozen=True)
class _Scale:
    """Frames to pixels."""

    most: int

    def height(self, frames: int) -> float:
        return max(frames / self.most * FLOW, HAIR) if frames and self.most else 0.0


def svg(ledger: Ledger, title: str) -> str:
    """The picture of a ledger, as a document of its own."""
    scale = _Scale(max(ledger.sent, *(hop.entered for hop in ledger.hops), 1))
    rows = max((len(_falling(hop)) for hop in ledger.hops), default=0)
    width = LEFT + COLUMN * len(ledger.hops) + RIGHT
    height = TOP + FLOW + FALL + ROW * rows + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(LEFT, 28, title, size=17, weight="bold"),
        _text(LEFT, 50, *_verdict(ledger), size=13),
    ]
    for number, hop in enumerate(ledger.hops):
        following = ledger.hops[number + 1] if number + 1 < len(ledger.hops) else None
        parts += _column(ledger, hop, following, LEFT + COLUMN * number, scale)
    return "\n".join([*parts, "</svg>", ""])


def _verdict(ledger: Ledger) -> tuple[str, str]:
    breaks = ledger.breaks
    if breaks:
        more = f" (and {len(breaks) - 1} more)" if len(breaks) > 1 else ""
        return f"does not add up: {breaks[0]}{more}", COLOURS["broken"]
    lost = sum(ledger.losses.values())
    return (
        f"{ledger.sent:,} sent, {ledger.delivered:,} delivered, {lost:,} ended elsewhere, 0 unaccounted",
        "#333",
    )


def _falling(hop: Hop) -> list[Fate]:
    """Fates that are drawn below the flow: all that happened, the largest uppermost."""
    return sorted((fate for fate in hop.fates if fate.count), key=lambda fate: -fate.count)


def _column(ledger: Ledger, hop: Hop, following: Hop | None, x: float, scale: _Scale) -> list[str]:
    parts = [_text(x, TOP - 18, hop.name, weight="bold"), _text(x, TOP - 4, f"{hop.entered:,}", "#555")]
    edge = TOP + scale.height(hop.onward)
    if following is not None and hop.onward:
        gap = hop.onward - following.entered
        band = _band(x + BAR, scale.height(hop.onward), x + COLUMN, scale.height(following.entered))
        parts.append(_path(band, COLOURS["broken" if gap else "flow"]))
        if gap:
            parts.append(_text(x + BAR + 8, TOP + 16, f"{gap:+,} unaccounted", "white"))
    falling = _falling(hop)
    for row, fate in enumerate(falling):
        thick = scale.height(fate.count)
        end = min(thick, TAIL)
        # The uppermost falls farthest to the right and ends first: no band crosses another, nor a label.
        at, label = x + BAR + 8 + STEP * (len(falling) - 1 - row), TOP + FLOW + FALL + row * ROW
        colour = COLOURS["delivered" if fate.delivered else "lost"]
        parts.append(_path(_fall(x + BAR, edge, thick, at, label - 10, end), colour))
        parts += _label(ledger, hop, fate, at + end + 5, label)
        edge += thick
    colour = COLOURS["broken" if hop.unaccounted else "bar"]
    bar = scale.height(max(hop.entered, hop.onward + hop.ended, 1))
    parts.append(f'<rect x="{x:.1f}" y="{TOP}" width="{BAR}" height="{bar:.1f}" fill="{colour}"/>')
    if hop.unaccounted:
        parts.append(_text(x, TOP + FLOW + 14, f"{hop.unaccounted:+,} unaccounted", colour, weight="bold"))
    return parts


def _label(ledger: Ledger, hop: Hop, fate: Fate, x: float, y: float) -> list[str]:
    """Count and share, the name, and the kernel's reasons where they are of this fate alone."""
    share = fate.count / ledger.sent if ledger.sent else 0.0
    per_cent = "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"
    lines = [
        _text(
            x,
            y,
            f"{fate.count:,} · {per_cent}",
            COLOURS["delivered" if fate.delivered else "lost"],
            weight="bold",
        ),
        _text(x, y + 13, fate.name, "#333", size=11),
    ]
    for causes in ledger.causes:
        if causes.fates == (f"{hop.name}/{fate.name}",) and causes.reasons:
            named = ", ".join(sorted(causes.reasons, key=lambda name: -causes.reasons[name]))
            short = named if len(named) <= CHARACTERS else named[: CHARACTERS - 1] + "…"
            lines.append(_text(x, y + 25, short, "#777", size=10))
    return lines


def _band(x: float, height: float, to_x: float, to_height: float) -> str:
    middle, low, to_low = (x + to_x) / 2, TOP + height, TOP + to_height
    return (
        f"M{x:.1f},{TOP} H{to_x:.1f} V{to_low:.1f} "
        f"C{middle:.1f},{to_low:.1f} {middle:.1f},{low:.1f} {x:.1f},{low:.1f} Z"
    )


def _fall(x: float, y: float, thick: float, to_x: float, to_y: float, end: float) -> str:
    """A band that leaves to the right and bends down, narrowing to `end`."""
    right, low = to_x + end, y + thick
    return (
        f"M{x:.1f},{y:.1f} C{right:.1f},{y:.1f} {right:.1f},{y:.1f} {right:.1f},{y + thick + 20:.1f} "
        f"V{to_y + 12:.1f} H{to_x:.1f} V{low + 20:.1f} "
        f"C{to_x:.1f},{low:.1f} {to_x:.1f},{low:.1f} {x:.1f},{low:.1f} Z"
    )


def _path(shape: str, colour: str) -> str:
    return f'<path d="{shape}" fill="{colour}" fill-opacity="0.75"/>'


def _text(
    x: float, y: float, text: str, colour: str = "#222", *, size: int = 12, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
