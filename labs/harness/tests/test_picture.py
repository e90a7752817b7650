# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The picture shows every fate that happened, with its count, and every sum that does not hold."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from labs.harness.ledger import Causes, Fate, Hop, Ledger
from labs.harness.picture import COLOURS, svg

LEDGER = Ledger(
    1_000_000,
    (
        Hop(
            "redirect",
            1_000_000,
            (Fate("rx_ring_full", 250_000), Fate("refused", 1), Fate("no_frame", 0)),
            749_999,
        ),
        Hop("receiver", 749_999, (Fate("received", 749_999, delivered=True),)),
    ),
    causes=(Causes(("redirect/rx_ring_full",), {"ENOBUFS": 250_000}),),
)


def drawn(ledger: Ledger) -> ElementTree.Element:
    """The picture, which must be well-formed for that."""
    return ElementTree.fromstring(svg(ledger, "a <run> & its title"))  # noqa: S314 (our own text)


def texts(ledger: Ledger) -> list[str]:
    """The picture's texts."""
    return [element.text or "" for element in drawn(ledger).iter("{http://www.w3.org/2000/svg}text")]


def test_every_fate_that_happened_is_shown_with_its_count_and_reason() -> None:
    shown = texts(LEDGER)
    for wanted in ("a <run> & its title", "250,000 · 25.0 %", "ENOBUFS", "1 · < 0.1 %", "749,999 · 75.0 %"):
        assert wanted in shown, shown
    assert "no_frame" not in shown
    assert "1,000,000 sent, 749,999 delivered, 250,001 ended elsewhere, 0 unaccounted" in shown


def test_one_frame_in_a_million_is_still_seen() -> None:
    bands = [
        path
        for path in drawn(LEDGER).iter("{http://www.w3.org/2000/svg}path")
        if path.get("fill") == COLOURS["lost"]
    ]
    assert len(bands) == 2


def test_a_sum_that_does_not_hold_is_told_and_coloured() -> None:
    first, last = LEDGER.hops
    inside = dataclasses.replace(
        LEDGER, hops=(dataclasses.replace(first, entered=1_000_001), last), sent=1_000_001
    )
    assert "does not add up: 1 frame unaccounted for at redirect" in texts(inside)
    assert "+1 unaccounted" in texts(inside)
    assert COLOURS["broken"] in svg(inside, "")
    between = dataclasses.replace(LEDGER, hops=(first, Hop("receiver", 5, (Fate("received", 5, True),))))
    assert "+749,994 unaccounted" in texts(between)


def test_nothing_sent_is_a_picture_too() -> None:
    empty = Ledger(0, (Hop("sender", 0), Hop("receiver", 0, (Fate("received", 0, True),))))
    assert "0 sent, 0 delivered, 0 ended elsewhere, 0 unaccounted" in texts(empty)
