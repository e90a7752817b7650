# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Names the one cause: the first rule, in the order of the packets' way, that the evidence bears out.

What stands before the first packet comes first (link, attachment, map); then the way to the program and in
it; then the rings, the last on the way first, because a blockage spreads upstream; then what the packets are
made of. No two rules fire on one cause: where one thing follows from another, the rule for it looks first
whether that other holds.
"""

from __future__ import annotations

import errno

from labs.harness.why import rules_arrival as arrival
from labs.harness.why import rules_attach as attach
from labs.harness.why import rules_content as content
from labs.harness.why import rules_rings as rings
from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding, Rule, plural

RULES: tuple[Rule, ...] = (
    attach.link_down,
    attach.attached_elsewhere,
    attach.not_attached,
    attach.generic_mode,
    arrival.peer_without_napi,
    attach.other_program,
    attach.map_empty,
    attach.socket_dead,
    arrival.mtu,
    rings.completion_full,
    rings.tx_not_kicked,
    arrival.nothing_sent,
    arrival.vlan_tag,
    arrival.not_matched,
    arrival.wrong_queue,
    content.super_frames,
    content.frame_too_long,
    rings.rx_ring_full,
    rings.fill_never_kicked,
    rings.umem_exhausted,
    rings.fill_empty,
    content.partial_checksum,
    content.wrong_mac,
)


def diagnose(evidence: Evidence) -> Finding:
    """The cause; if no rule fires, that packets flow."""
    for rule in RULES:
        found = rule(evidence)
        if found is not None:
            return found
    return _healthy(evidence)


def fired(evidence: Evidence) -> list[Finding]:
    """What each rule says by itself, in order; the first is the cause, others are its consequences."""
    return [found for rule in RULES if (found := rule(evidence)) is not None]


def _healthy(evidence: Evidence) -> Finding:
    """No rule fires: packets were seen to arrive where they should, or the cause is none that we know."""
    sockets = evidence.fed_sockets
    received = sum(one.moved.received for one in sockets)
    read = sum(one.moved.read for one in sockets)
    sent = sum(one.moved.sent for one in evidence.companions)
    failed = [one for one in evidence.events_of("redirect_err") if one.count]
    lines = [
        f"{evidence.device}: {plural(evidence.arrived)} arrived, {evidence.redirected:,} redirected",
        f"sockets: {received:,} received, {read:,} read, {sent:,} sent",
        *(f"{plural(one.count, 'redirect')} failed with {errno.errorcode[one.error]}" for one in failed),
    ]
    flows = received or (evidence.redirected and not sockets) or (evidence.sends_only and sent)
    if failed or not flows:
        return Finding(
            "unknown",
            f"No known cause fits what was seen of {evidence.device} {evidence.since}.",
            tuple(lines),
            "look at the evidence (--json), and longer (--seconds)",
        )
    what = f"{plural(received)} reached AF_XDP sockets of"
    if not sockets:
        what = (
            f"{plural(sent)} sent by"
            if evidence.sends_only
            else f"{plural(evidence.redirected)} redirected by"
        )
    return Finding(
        "healthy",
        f"Packets flow: {what} {evidence.device} {evidence.since}.",
        (*lines, "none lost"),
        "nothing: if the other side still sees none, ask at the next device on their way",
        healthy=True,
    )
