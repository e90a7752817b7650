# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Causes in the packets themselves: too long for a frame, unfinished checksums, another's MAC address."""

from __future__ import annotations

import errno

from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding, plural
from labs.harness.why.parts import Device, Frame, Socket

SEGMENTATION = (
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
    "tx-generic-segmentation",
)
CHECKSUM = ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6")


def _too_long(evidence: Evidence) -> int:
    """Packets that did not fit a frame: dropped by the socket, though not for want of a frame."""
    counted = sum(max(one.moved.dropped - one.moved.no_frame, 0) for one in evidence.fed_sockets)
    if evidence.events is None:
        return counted
    # Both must say so: a packet may come between the reading of two counters, and 5.10 has this errno for
    # other causes, too.
    return min(evidence.failed(errno.ENOSPC), counted)


def _towards(evidence: Evidence) -> list[Frame]:
    names = {evidence.peer.name} if evidence.peer else set()
    return [one for one in evidence.frames if one.at in names and not one.incoming]


def _fed(evidence: Evidence) -> Socket | None:
    return evidence.fed_sockets[0] if evidence.fed_sockets else None


def super_frames(evidence: Evidence) -> Finding | None:
    """Packets are merged, or not yet cut, and so do not fit a frame."""
    lost, socket = _too_long(evidence), _fed(evidence)
    if not lost or socket is None:
        return None
    device, peer = evidence.device, evidence.peer
    huge = [one for one in _towards(evidence) if one.gso_bytes]
    longest = max((one.length for one in _towards(evidence)), default=0)
    line = f"{plural(lost)} did not fit a frame of {socket.frame_bytes:,} bytes {evidence.since}"
    if huge and peer is not None:
        on = sorted(set(SEGMENTATION) & peer.features)
        return Finding(
            "super_frames",
            f"The sender hands over super-frames (GSO), which do not fit a frame of the UMEM: {peer} leaves "
            "the cutting to the device.",
            (
                f"seen on {peer}: {huge[0].text}, {huge[0].length:,} bytes in segments of "
                f"{huge[0].gso_bytes:,}",
                line,
                f"{peer}: {', '.join(on)} on",
            ),
            f"{peer.enter}ethtool -K {peer.name} tso off gso off tx-udp-segmentation off; "
            "in native mode a veth does so by itself",
        )
    if device.xdp_mode == "generic" and "rx-gro" in device.features and longest <= socket.frame_bytes:
        return Finding(
            "super_frames",
            f"GRO on {device} merges packets before the generic XDP program sees them; "
            "they do not fit a frame of the UMEM.",
            (line, f"{device}: rx-gro on, generic mode"),
            f"{device.enter}ethtool -K {device.name} gro off, or attach in native mode",
        )
    return None


def frame_too_long(evidence: Evidence) -> Finding | None:
    """A packet is longer than a frame, and the socket takes no packets of several frames."""
    lost, socket = _too_long(evidence), _fed(evidence)
    if not lost or socket is None or super_frames(evidence):
        return None
    umem = socket.info.umem
    assert umem is not None
    longest = max((one for one in _towards(evidence)), key=lambda one: one.length, default=None)
    seen = (f"seen on {longest.at}: {longest.length:,} bytes ({longest.text})",) if longest else ()
    return Finding(
        "frame_too_long",
        f"Packets are longer than the {socket.frame_bytes:,} bytes that a frame has room for, "
        "and the socket is not bound for multi-buffer.",
        (
            f"{plural(lost)} did not fit {evidence.since}",
            f"frame: {umem.chunk_size:,} bytes less {umem.headroom} headroom less 256 of XDP",
            *seen,
        ),
        "use frames of 4096 bytes, bind with XDP_USE_SG and an xdp.frags program, or lower the "
        "sender's MTU to "
        f"{socket.frame_bytes - 14}",
    )


def partial_checksum(evidence: Evidence) -> Finding | None:
    """What the socket gets has checksums that nobody has finished."""
    frames = [one for one in _towards(evidence) if one.partial]
    peer = evidence.peer
    received = sum(one.moved.received for one in evidence.fed_sockets)
    if not frames or peer is None or not received or evidence.device.kind != "veth":
        return None
    on = sorted(set(CHECKSUM) & peer.features)
    return Finding(
        "partial_checksum",
        f"The packets reach the socket with unfinished checksums: {peer} leaves them to the device, "
        "and a veth "
        "does not write them.",
        (
            f"seen on {peer}: {frames[0].text}, checksum left to the device (CHECKSUM_PARTIAL)",
            f"{peer}: {', '.join(on) or 'checksum offload'} on",
            f"{plural(sum(one.moved.read for one in evidence.fed_sockets))} read by the process "
            f"{evidence.since}: "
            "whoever verifies the checksum drops them",
        ),
        f"{peer.enter}ethtool -K {peer.name} tx off",
    )


def wrong_mac(evidence: Evidence) -> Finding | None:
    """What the process sends carries a MAC address that the receiving stack is not."""
    ends = [(link.device, link.peer) for link in (*evidence.egress, evidence.link)]
    for device, peer in ends:
        if peer is None:
            continue
        strange = [one for one in evidence.frames if one.at == peer.name and one.incoming and one.other_host]
        dropped = peer.count("rx_otherhost_dropped")
        if not strange or not _sends(evidence, device):
            continue
        frame = strange[0]
        return Finding(
            "wrong_mac",
            f"The packets that leave by {device} are addressed to {frame.destination}, which is not {peer}: "
            "the stack there drops them.",
            (
                f"seen on {peer}: {frame.text} to {frame.destination}; its own address is {peer.mac}",
                f"{peer}: {plural(dropped)} dropped as another host's {evidence.since}",
            ),
            f"write the destination address before sending (--set-dst-mac {peer.mac})",
        )
    return None


def _sends(evidence: Evidence, device: Device) -> bool:
    return any(one.device == device.key and one.moved.sent for one in evidence.companions)
