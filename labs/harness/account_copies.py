# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The account of a mirror's copies: frames that nobody sent, so they have a ledger of their own."""

from __future__ import annotations

from collections.abc import Mapping

from labs.harness.ledger import Fate, Hop, Ledger


def account_copies(counted: Mapping[str, int], mirror: str) -> Ledger:
    """The ledger of copies, from the packets that were to be copied to the frames on the mirror's link.

    Args:
        counted: differences over the run, named as by `Pipeline.count`.
        mirror: the device that copies are sent out of.
    """

    def of(what: str) -> int:
        return counted.get(f"forwarder_mirror_{what}", 0)

    missing = {name: of(name) for name in ("no_frame", "ring_full")}
    made, left = of("packets"), counted[f"{mirror}_tx_packets"]
    in_tx = {"waiting": max(made - of("completed"), 0), "refused_by_device": of("refused")}
    hops = (
        Hop("mirror", made + sum(missing.values()), _fates(missing), made),
        Hop("mirror_tx", made, _fates(in_tx), left),
        Hop("mirror_link", left, (Fate("sent", left, delivered=True),)),
    )
    return Ledger(hops[0].entered, hops)


def _fates(counts: Mapping[str, int]) -> tuple[Fate, ...]:
    return tuple(Fate(name, count) for name, count in counts.items())
