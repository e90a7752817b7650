# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Causes on the way to the program, and in it: nothing arrives, or the program does not redirect."""

from __future__ import annotations

import errno

from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding, plural
from labs.harness.why.parts import ETHER_BYTES, VLAN_BYTES, Frame, Link
from labs.harness.why.rules_attach import link_down
from labs.harness.why.rules_rings import fill_never_kicked

REDIRECT = "XDP_REDIRECT"


def peer_without_napi(evidence: Evidence) -> Finding | None:
    """XDP sends frames into a veth whose other end cannot take them."""
    device, peer = evidence.device, evidence.peer
    refused = [
        one
        for one in evidence.events or ()
        if one.refused_by is not None
        and ((one.netns, one.ifindex) == device.key or (peer is not None and one.refused_by == peer.key))
    ]
    if not refused:
        return None
    ways = [*evidence.egress, *([Link(peer, device)] if peer is not None else [])]
    way = next((one for one in ways if one.device.key == refused[0].refused_by), None)
    out = str(way.device) if way else "a device"
    end = way.peer if way else None
    return Finding(
        "peer_without_napi",
        f"Frames that XDP sends by {out} cannot enter {end or 'its peer'}: that end of the veth has no NAPI.",
        (
            f"{plural(sum(one.count for one in refused), 'frame')} refused with "
            f"{errno.errorcode[refused[0].error]} {evidence.since}",
            f"{end or 'the peer'}: neither a native XDP program nor GRO, one of which a veth needs "
            "to receive so",
        ),
        f"switch on GRO there ({end.enter if end else ''}ethtool -K {end.name if end else 'PEER'} "
        "gro on), or attach a native XDP program: "
        "xdp_pass will do",
    )


def _sent_to(evidence: Evidence) -> list[Frame]:
    """Frames on their way to the device, as the other end sent them."""
    peer = evidence.peer
    return [one for one in evidence.frames if peer and one.at == peer.name and not one.incoming]


def mtu(evidence: Evidence) -> Finding | None:
    """The device drops what is longer than its MTU."""
    device, peer = evidence.device, evidence.peer
    limit = device.mtu + ETHER_BYTES + VLAN_BYTES
    long = [one for one in _sent_to(evidence) if one.length > limit and not one.gso_bytes]
    dropped = device.count("rx_dropped")
    if not long or not dropped:
        return None
    assert peer is not None
    longest = max(one.length for one in long)
    return Finding(
        "mtu",
        f"Packets are longer than the MTU of {device} allows, which drops them.",
        (
            f"{device}: MTU {device.mtu:,}, so {limit:,} bytes a frame; {peer}: MTU {peer.mtu:,}",
            f"seen on {peer}: {longest:,} bytes ({long[0].text})",
            f"{device}: {plural(dropped)} dropped {evidence.since}",
        ),
        f"{device.enter}ip link set dev {device.name} mtu {longest - ETHER_BYTES}, or let the "
        "sender make them "
        f"shorter: {peer.enter}ip link set dev {peer.name} mtu {device.mtu}",
    )


def nothing_sent(evidence: Evidence) -> Finding | None:
    """Nothing arrives, and nothing was seen to be sent."""
    device, peer = evidence.device, evidence.peer
    if evidence.arrived or not evidence.fed_sockets:
        return None
    # A card without a frame to receive into takes none, and some hold the sender up instead of dropping.
    if any(rule(evidence) for rule in (link_down, peer_without_napi, mtu, fill_never_kicked)):
        return None
    lines = [f"{device}: 0 packets received {evidence.since}"]
    if peer is not None:
        sent = peer.count("tx_packets")
        lines.append(f"{peer}: {plural(sent)} sent {evidence.since}")
    return Finding(
        "nothing_sent",
        f"No packet arrives at {device} at all: the sender sends none"
        + (" while we look." if evidence.live else "."),
        tuple(lines),
        f"start the sender, and look again while it sends; it must send by {peer or 'the other end'} "
        "(check its route and its neighbour entry: ip route get ADDRESS, ip neigh)",
    )


def _program_line(evidence: Evidence) -> str:
    program = evidence.device.program
    assert program is not None
    constants = ", ".join(f"{name} = {value}" for name, value in program.constants.items())
    return f"program {program.id} ({program.name})" + (f", constants: {constants}" if constants else "")


def _unmatched(evidence: Evidence) -> list[Frame]:
    """Frames that the program, asked, does not redirect; the most frequent first."""
    frames = [one for one in evidence.frames if one.verdict not in (None, REDIRECT)]
    return sorted(frames, key=lambda one: -one.count)


def _counted(evidence: Evidence) -> list[str]:
    device = evidence.device
    lines = [f"{device}: {plural(evidence.arrived)} arrived, 0 redirected {evidence.since}"]
    if device.program is not None:
        classes = {name: count for name, count in device.program.counters.items() if count}
        if classes:
            lines.append(
                "its own counters: " + ", ".join(f"{count:,} {name}" for name, count in classes.items())
            )
    if evidence.said:
        said = ", ".join(f"{count:,} XDP_{name.upper()}" for name, count in evidence.said.items())
        return [*lines, f"its verdicts, as fexit saw them: {said}"]
    dropped = sum(device.of_queues("xdp_drops").values())
    if dropped:
        lines.append(f"{device}: {plural(dropped)} dropped by the program")
    exceptions = sum(one.count for one in evidence.events_of("exception"))
    if exceptions:
        lines.append(f"{device}: {plural(exceptions)} with the verdict XDP_ABORTED or an unknown one")
    return lines


def _undecided(evidence: Evidence) -> bool:
    """Packets arrive, sockets wait, and nothing is redirected."""
    waiting = evidence.fed_sockets and evidence.arrived and not evidence.redirected
    return bool(waiting) and link_down(evidence) is None


def vlan_tag(evidence: Evidence) -> Finding | None:
    """The program would take the packet without its VLAN tag."""
    tagged = [one for one in _unmatched(evidence) if one.vlans and one.untagged == REDIRECT]
    if not _undecided(evidence) or not tagged:
        return None
    frame = tagged[0]
    tags = ", ".join(map(str, frame.vlans))
    return Finding(
        "vlan_tag",
        f"The packets carry VLAN tag{'s' if len(frame.vlans) > 1 else ''} {tags}, "
        "which the program does not look through.",
        (
            f"seen on {frame.at}: {frame.text}",
            f"{_program_line(evidence)}: answers {frame.verdict}; without the tag {REDIRECT}",
            *_counted(evidence),
        ),
        "let the program step over 802.1Q and 802.1ad headers before it reads the EtherType, or "
        "send untagged",
    )


def not_matched(evidence: Evidence) -> Finding | None:
    """The program lets the packets pass, or drops them."""
    if not _undecided(evidence) or vlan_tag(evidence):
        return None
    frames = _unmatched(evidence)
    asked = any(one.verdict for one in evidence.frames)
    if not frames and (asked or _other_queues(evidence)):
        return None  # it would redirect them: then the queue is to blame
    lines = []
    remedy = "change the program's filter, or what is sent"
    what = "the packets"
    if frames:
        frame = frames[0]
        what = frame.text
        lines.append(f"seen on {frame.at}: {frame.text}, {plural(frame.length, 'byte')}")
        lines.append(f"{_program_line(evidence)}: answers {frame.verdict}")
        if frame.constant == REDIRECT:
            lines.append("asked with the port that its constant names: " + REDIRECT)
            remedy = "send to the port that the program's constant names, or load it with the right one"
        elif frame.text == "ARP":
            remedy = (
                "the sender seeks the MAC address of its destination, and nothing else comes: let somebody "
                "answer, or pin it at the sender (ip neigh replace ADDRESS lladdr MAC dev IF)"
            )
        elif frame.fragment:
            remedy = (
                "send datagrams that need no IP fragments (smaller, or with a larger MTU on the whole way)"
            )
    else:
        lines.append(_program_line(evidence))
    return Finding(
        "not_matched",
        f"The program on {evidence.device} does not match {what}: port, address or protocol is not its own.",
        (*lines, *_counted(evidence)),
        remedy,
    )


def _other_queues(evidence: Evidence) -> dict[int, int]:
    """Packets per queue, where none of these queues has a socket."""
    arrivals = evidence.arrivals
    served = {one.info.queue for one in evidence.fed_sockets}
    return {} if served & arrivals.keys() else arrivals


def wrong_queue(evidence: Evidence) -> Finding | None:
    """The packets arrive on a queue whose slot is empty, or holds a socket of another queue."""
    device = evidence.device
    refused = evidence.refused
    arrivals = _other_queues(evidence)
    if not evidence.fed_sockets or not (refused or _undecided(evidence)):
        return None
    if vlan_tag(evidence) or not_matched(evidence):
        return None
    bound = [
        f"slot {slot}: {one}, bound to {one.info.device} queue {one.info.queue}"
        for _, slot, one in evidence.slot_sockets
    ]
    served = sorted({one.info.queue for one in evidence.fed_sockets})
    sockets = f"queue {', '.join(map(str, served))}"
    on = f"queue {', '.join(map(str, arrivals))}" if arrivals else "another queue"
    lines = [f"{device}: {plural(count)} on queue {queue}" for queue, count in arrivals.items()]
    if refused:
        lines.append(f"{plural(refused, 'redirect')} failed with EINVAL {evidence.since}")
    first = served[0] if served else 0
    ethtool = f"{device.enter}ethtool"
    return Finding(
        "wrong_queue",
        f"Packets arrive at {device} on {on}, but the socket is bound to {sockets}.",
        (*lines, *bound[:4]),
        f"bind a socket to each of the device's {device.queues} queues, each in the slot of its "
        "queue; or steer "
        f"packets to queue {first}: {ethtool} -X {device.name} equal 1 start {first} (hardware), or "
        "one queue only: "
        f"{ethtool} -L {device.name} combined 1",
    )
