# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Causes that stand before the first packet: link, attachment, XSKMAP, the sockets in it."""

from __future__ import annotations

import errno

from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding, plural
from labs.harness.why.parts import Device, Link, Socket

# veth's native XDP wants a packet in one page beside head room and skb_shared_info: veth_xdp_set().
VETH_XDP_MTU = 4096 - 256 - 14 - 320


def _is_down(device: Device) -> Finding | None:
    if device.up:
        return None
    return Finding(
        "link_down",
        f"The device {device} is down.",
        (f"{device}: administratively down",),
        f"{device.enter}ip link set {device.name} up",
    )


def _no_carrier(link: Link) -> Finding | None:
    device, peer = link.device, link.peer
    if device.carrier:
        return None
    if peer is not None:
        return Finding(
            "peer_down",
            f"The peer {peer} of {device} is down: no packet can come or go.",
            (f"{device}: up, without carrier", f"{peer}: {'up' if peer.up else 'administratively down'}"),
            f"{peer.enter}ip link set {peer.name} up",
        )
    return Finding(
        "peer_down",
        f"{device} has no carrier: the other end is down or not connected.",
        (f"{device}: up, without carrier",),
        "bring the other end up, or check the cable",
    )


def link_down(evidence: Evidence) -> Finding | None:
    """The device, its peer, or a device that packets leave by, cannot carry packets."""
    found = _is_down(evidence.device) or _no_carrier(evidence.link)
    if found:
        return found
    # A device to send by matters only to packets that can reach the process at all.
    for link in evidence.egress if evidence.companions else ():
        found = _is_down(link.device) or _no_carrier(link)
        if found:
            return found
    return None


def _socket_line(socket: Socket) -> str:
    info = socket.info
    where = f"bound to {info.device} queue {info.queue}" if info.device else f"state {info.state}"
    slots = ", ".join(f"slot {slot} of XSKMAP {map_id}" for map_id, slot in socket.slots)
    return f"{socket}: {where}, in {slots or 'no XSKMAP'}"


def attached_elsewhere(evidence: Evidence) -> Finding | None:
    """Program and sockets are on two different devices, or in two different namespaces."""
    device = evidence.device
    if device.program is None and evidence.attached:
        other = evidence.attached[0]
        wrong = "another network namespace" if other.netns != device.netns else "another device"
        assert other.program is not None
        return Finding(
            "attached_elsewhere",
            f"The XDP program is attached to {wrong}, {other}; the sockets that it feeds wait on {device}.",
            (
                f"{device}: no XDP program",
                f"{other}: program {other.program.id} ({other.program.name}), {other.xdp_mode} mode",
                *(_socket_line(one) for one in evidence.own_sockets),
            ),
            f"attach the program to {device.name}"
            + (" inside that namespace" if other.netns != device.netns else "")
            + f", or bind the sockets to {other.name}",
        )
    bound = [(slot, one) for _, slot, one in evidence.slot_sockets if one.device is not None]
    if device.program is None or not bound or evidence.fed_sockets:
        return None
    slot, socket = bound[0]
    wrong = "another network namespace" if socket.info.netns.inode != device.netns else "another device"
    return Finding(
        "attached_elsewhere",
        f"The XDP program is attached to {device}, but the socket in slot {slot} of its XSKMAP is bound to "
        f"{wrong}: {socket.info.device} ({socket.info.netns.name}).",
        (
            f"{device}: program {device.program.id} ({device.program.name}), {device.xdp_mode} mode",
            *(_socket_line(one) for _, one in bound[:4]),
            *_failed(evidence, errno.EINVAL),
        ),
        f"attach the program to {socket.info.device}, or bind the socket to {device.name}",
    )


def _failed(evidence: Evidence, number: int) -> tuple[str, ...]:
    count = evidence.failed(number)
    if not count:
        return ()
    return (f"{plural(count, 'redirect')} failed with {errno.errorcode[number]} {evidence.since}",)


def not_attached(evidence: Evidence) -> Finding | None:
    """No program at all."""
    device = evidence.device
    if device.program is not None or evidence.attached or evidence.sends_only:
        return None
    lines = [f"{device}: no XDP program"]
    lines += [
        f"program {one.id} ({one.name}) uses the sockets' XSKMAP, and is attached nowhere"
        for one in evidence.loaded
    ]
    lines += [_socket_line(one) for one in evidence.own_sockets]
    remedy = f"{device.enter}ip link set dev {device.name} xdpdrv object PROGRAM.o section xdp"
    peer = evidence.peer
    if device.kind == "veth" and peer is not None and peer.mtu > VETH_XDP_MTU:
        lines.append(
            f"{peer}: MTU {peer.mtu:,}; native mode takes at most {VETH_XDP_MTU:,} without xdp.frags"
        )
        remedy = (
            f"lower the MTU of {peer.name} to {VETH_XDP_MTU} or mark the program xdp.frags; then {remedy}"
        )
    return Finding("not_attached", f"No XDP program is attached to {device}.", tuple(lines), remedy)


def generic_mode(evidence: Evidence) -> Finding | None:
    """Native mode was asked for, generic was granted."""
    device = evidence.device
    if evidence.want != "native" or device.program is None or device.xdp_mode != "generic":
        return None
    return Finding(
        "generic_mode",
        f"The XDP program on {device} is attached in generic mode, not in native mode as was asked for.",
        (f"{device}: program {device.program.id} ({device.program.name}), generic mode",),
        f"{device.enter}ip link set dev {device.name} xdpgeneric off; then attach with XDP_FLAGS_DRV_MODE "
        "(mode native), which fails with a reason where the driver cannot",
    )


def other_program(evidence: Evidence) -> Finding | None:
    """The program on the device is not the one that feeds the sockets."""
    device = evidence.device
    strangers = [one for one in evidence.own_sockets if one not in evidence.fed_sockets]
    if device.program is None or not _feeds_none(evidence, strangers):
        return None
    used = (
        f"uses XSKMAP {', '.join(map(str, device.program.xskmaps))}, in which no socket is"
        if device.program.xskmaps
        else "uses no XSKMAP"
    )
    return Finding(
        "other_program",
        f"Another XDP program is attached to {device}: {device.program.name}, which feeds no AF_XDP socket.",
        (
            f"program {device.program.id} ({device.program.name}), {device.xdp_mode} mode, {used}",
            *(f"program {one.id} ({one.name}) uses the sockets' XSKMAP" for one in evidence.loaded),
            *(_socket_line(one) for one in strangers),
        ),
        f"{device.enter}ip link set dev {device.name} xdp off; then attach the program that "
        "redirects into the "
        "sockets' XSKMAP",
    )


def _feeds_none(evidence: Evidence, strangers: list[Socket]) -> bool:
    """Has the program no map with a socket, while sockets of the device are elsewhere, or nowhere?"""
    program = evidence.device.program
    if program is None or any(one.slots for one in evidence.program_maps):
        return False
    if any(one.slots for one in strangers):
        return True
    # A program that redirects to devices, while no socket waits, is what was wanted.
    return not program.xskmaps and bool(strangers or not evidence.redirected)


def map_empty(evidence: Evidence) -> Finding | None:
    """The program has an XSKMAP, and nobody is in it."""
    device = evidence.device
    if device.program is None or not evidence.program_maps:
        return None
    if any(one.slots for one in evidence.program_maps) or other_program(evidence):
        return None
    waiting = evidence.own_sockets
    map_id = evidence.program_maps[0].id
    remedy = f"put the socket into the map: xsk_socket__update_xskmap(xsk, fd of map {map_id})"
    if not waiting:
        remedy = f"start the AF_XDP program on {device.name} (it ended, or never began), and let it " + remedy
    return Finding(
        "map_empty",
        f"The XSKMAP of the program on {device} is empty: there is no socket to redirect to.",
        (
            *(f"XSKMAP {one.id} ({one.name}): 0 of {one.max_entries} slots" for one in evidence.program_maps),
            *(_socket_line(one) for one in waiting),
        ),
        remedy,
    )


def socket_dead(evidence: Evidence) -> Finding | None:
    """A slot holds a socket that is bound to nothing."""
    dead = [(slot, one) for _, slot, one in evidence.slot_sockets if one.info.state != "bound"]
    if not dead or (evidence.fed_sockets and not evidence.failed(errno.ENXIO)):
        return None
    slot, socket = dead[0]
    lines = tuple(_socket_line(one) for _, one in dead[:4]) + _failed(evidence, errno.ENXIO)
    if socket.info.state == "ready":
        return Finding(
            "socket_dead",
            f"The socket in slot {slot} of the XSKMAP was never bound to a queue.",
            lines,
            "bind() the socket before it goes into the map (xsk_socket__create does)",
        )
    return Finding(
        "socket_dead",
        f"The socket in slot {slot} of the XSKMAP is dead: the device that it was bound to is gone.",
        lines,
        f"restart its process, so that it binds a new socket to {evidence.device.name}; "
        "a process sees this as POLLERR or ENXIO and should end",
    )
