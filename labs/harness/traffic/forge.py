# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Makes the frames of a plan: the templates that the kernel's sender fills in, and the same in Python.

Checksums are never computed anew. A template holds the one's-complement sum of what they cover without the
stamp and the varied fields; these are added for each frame (RFC 1624). So a checksum that was wrong in the
packet stays as wrong as it was.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass

from labs.harness.frames import ETH_HEADER, ETH_IPV4, UDP, VLAN_TYPES, Layout, layout
from xdp.pyxdp.errors import InputError

from .fields import Place, Vary
from .layout import FIELDS, FRAME_BYTES, Flow, InSum, Template
from .plan import TrafficPlan, build
from .stamp import STAMP_BYTES, pack, payload_digest

MAX_TEMPLATES = 65536
GAP_SHIFT = 16  # a gap is counted in 2^-16 ns, xdp/src/tester.h
MAX_GAP_NS = 60 * 10**9
HEADER_REACH = 255 - STAMP_BYTES  # offsets that tester_send.bpf.c writes at have 8 bits
EXPERIMENT = 0x88B5  # IEEE Std 802 Local Experimental EtherType 1


@dataclass(frozen=True)
class Blank:
    """A template in Python's terms: the frame without stamp and varied fields, and where they lie."""

    frame: bytes
    stamp_at: int
    digest: int
    l4_sum_at: int
    l4_base: int
    ip_sum_at: int
    ip_base: int
    is_udp: bool
    places: tuple[Place | None, ...]


class Forge:
    """The frames of a plan.

    Raises:
        InputError: a packet cannot be built, is no Ethernet frame or too long, has no room for the stamp,
            or a field varies that no packet has.
    """

    def __init__(self, plan: TrafficPlan) -> None:
        self.plan = plan
        packets = plan.templates
        if not packets and plan.limit != 0:
            raise InputError("a traffic plan without packets cannot send any: give it at least one")
        if len(packets) > MAX_TEMPLATES:
            raise InputError(f"{len(packets)} packets: at most {MAX_TEMPLATES} can be sent in turn")
        self.blanks = tuple(self._blank(build(packet), number) for number, packet in enumerate(packets, 1))
        for index, vary in enumerate(plan.vary):
            if self.blanks and all(blank.places[index] is None for blank in self.blanks):
                raise InputError(f"{vary.field} cannot vary: no packet of the plan has this field")

    @property
    def longest(self) -> int:
        """Bytes of the longest frame; 0 if there is none."""
        return max((len(blank.frame) for blank in self.blanks), default=0)

    def frame(self, index: int, sent_ns: int = 0) -> bytes:
        """Frame number `index`, from 0, as the kernel's sender makes it."""
        plan, blank = self.plan, self.blanks[index % len(self.blanks)]
        flow = index % plan.flow_count
        frame = bytearray(blank.frame)
        l4, ip = blank.l4_base, blank.ip_base
        for vary, place in zip(plan.vary, blank.places, strict=True):
            if place is None:
                continue
            value = vary.value(flow)[-place.varied_size :]
            frame[place.varied_offset : place.varied_offset + place.varied_size] = value
            l4 += _words(value) if place.sums & InSum.L4 else 0
            ip += _words(value) if place.sums & InSum.IP else 0
        if blank.stamp_at:
            stamp = pack(plan.magic, flow, plan.first + index, sent_ns, blank.digest)
            frame[blank.stamp_at : blank.stamp_at + STAMP_BYTES] = stamp
            l4 += _words(stamp)
        if blank.ip_sum_at:
            struct.pack_into("<H", frame, blank.ip_sum_at, 0xFFFF ^ _fold(ip))
        if blank.l4_sum_at:
            checksum = 0xFFFF ^ _fold(l4)
            struct.pack_into("<H", frame, blank.l4_sum_at, checksum or (0xFFFF if blank.is_udp else 0))
        return bytes(frame)

    def template(self, index: int) -> Template:
        """The kernel's template for one packet."""
        blank = self.blanks[index]
        template = Template(
            gap=self._gap(len(blank.frame)),
            payload_digest=blank.digest,
            l4_base=blank.l4_base,
            ip_base=blank.ip_base,
            length=len(blank.frame),
            stamp_offset=blank.stamp_at,
            l4_sum_offset=blank.l4_sum_at,
            ip_sum_offset=blank.ip_sum_at,
            is_udp=blank.is_udp,
        )
        for number, place in enumerate(blank.places):
            if place is not None:
                field = template.fields[number]
                field.offset, field.size, field.flags = place.varied_offset, place.varied_size, place.sums
        ctypes.memmove(template.frame, blank.frame, len(blank.frame))
        return template

    def flow(self, number: int) -> Flow:
        """The kernel's record of one flow."""
        flow = Flow()
        for index, vary in enumerate(self.plan.vary):
            value = vary.value(number)[-4:]
            flow.value[index] = int.from_bytes(value, "little")
        return flow

    def gap_ns(self, length: int) -> float:
        """Time from a frame of this length to the next; 0 for as fast as it goes."""
        if self.plan.rate_pps is not None:
            return 1e9 / self.plan.rate_pps
        if self.plan.rate_bps is not None:
            return length * 8e9 / self.plan.rate_bps
        return 0.0

    def _gap(self, length: int) -> int:
        gap = self.gap_ns(length)
        if gap > MAX_GAP_NS:
            raise InputError(f"one frame every {gap / 1e9:.0f} s: use at least one a minute")
        return round(gap * (1 << GAP_SHIFT))

    def _blank(self, frame: bytes, number: int) -> Blank:
        plan, name = self.plan, f"packet {number}"
        if len(frame) < ETH_HEADER:
            raise InputError(f"{name} of {len(frame)} bytes is no Ethernet frame: start it with Ether()")
        if len(frame) > FRAME_BYTES:
            raise InputError(f"{name} has {len(frame)} bytes: at most {FRAME_BYTES} can be sent")
        where = layout(frame)
        work = bytearray(frame)
        places = tuple(vary.place(frame) for vary in plan.vary)
        ip_at = _ipv4_header(frame)
        l4_at = where.checksum or 0
        if l4_at and plan.zero_checksum and where.protocol == UDP and ip_at:
            struct.pack_into("<H", work, l4_at, 0)
            l4_at = 0
        l4 = _inverted(frame, l4_at) if l4_at else 0
        ip_varies = any(place and place.sums & InSum.IP for place in places)
        ip_sum_at = ip_at + 10 if ip_at and ip_varies else 0
        ip = _inverted(frame, ip_sum_at) if ip_sum_at else 0
        for vary, place in zip(plan.vary, places, strict=True):
            if place is None:
                continue
            vary_at, size = place.varied_offset, place.varied_size
            if vary_at > HEADER_REACH:
                raise InputError(f"{name}: {vary.field} lies too far inside to vary")
            value = vary.value(0)
            if vary.field == "vlan.id" and frame[place.offset] & 0xF0:
                raise InputError(f"{name}: vlan.id varies only without VLAN priority: set prio=0")
            old = bytes(work[place.offset : place.offset + place.size])
            work[place.offset : place.offset + place.size] = value
            # The upper part of a long address is set once and stays; the lower is added for each frame.
            constant = value[: place.size - size]
            if place.sums & InSum.L4 and l4_at:
                l4 += _negated(old) + _words(constant)
            if place.sums & InSum.IP:
                ip += _negated(old) + _words(constant)
        stamp_at = self._stamp_place(frame, where, name) if plan.stamp else 0
        digest = 0
        if stamp_at:
            l4 += _negated(frame[stamp_at : stamp_at + STAMP_BYTES]) if l4_at else 0
            work[stamp_at : stamp_at + STAMP_BYTES] = bytes(STAMP_BYTES)
            digest = payload_digest(bytes(work[stamp_at + STAMP_BYTES : where.end]))
        return Blank(
            bytes(work),
            stamp_at,
            digest,
            l4_at,
            _fold(l4),
            ip_sum_at,
            _fold(ip),
            where.protocol == UDP,
            places,
        )

    def _stamp_place(self, frame: bytes, where: Layout, name: str) -> int:
        if not is_stampable(frame, where):
            raise InputError(
                f"{name} has no payload for a stamp: that needs UDP, TCP or ICMP over IP, not fragmented; "
                "send it unstamped"
            )
        room = where.end - where.payload
        if room < STAMP_BYTES:
            raise InputError(
                f"{name} has a payload of {room} bytes: a stamp needs {STAMP_BYTES}; make the frame "
                f"{STAMP_BYTES - room} bytes longer, or send it unstamped"
            )
        if where.payload > HEADER_REACH:
            raise InputError(f"{name} has {where.payload} bytes of headers: a stamp must lie within 237")
        return where.payload


def is_stampable(frame: bytes, where: Layout) -> bool:
    """Has this frame a payload of its own: behind UDP, TCP or ICMP, or of the EtherType for experiments?"""
    kind = (
        int.from_bytes(frame[where.payload - 2 : where.payload], "big") if where.payload >= ETH_HEADER else 0
    )
    return where.protocol is not None or kind == EXPERIMENT


def _ipv4_header(frame: bytes) -> int:
    """Offset of the IPv4 header, 0 if there is none."""
    offset, kind = ETH_HEADER, int.from_bytes(frame[12:14], "big")
    for _ in range(2):
        if kind in VLAN_TYPES and len(frame) >= offset + 4:
            kind = int.from_bytes(frame[offset + 2 : offset + 4], "big")
            offset += 4
    return offset if kind == ETH_IPV4 and len(frame) >= offset + 20 else 0


def _fold(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _words(data: bytes) -> int:
    """Sum of 16-bit words as they lie in memory: one's-complement sums do not care for byte order."""
    return sum(struct.unpack(f"<{len(data) // 2}H", data))


def _negated(data: bytes) -> int:
    """What takes the words out of a one's-complement sum."""
    return sum(0xFFFF ^ word for word in struct.unpack(f"<{len(data) // 2}H", data))


def _inverted(frame: bytes, at: int) -> int:
    return 0xFFFF ^ int(struct.unpack_from("<H", frame, at)[0])


__all__ = ["FIELDS", "Blank", "Forge", "Vary"]
