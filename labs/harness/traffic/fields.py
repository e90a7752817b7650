# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Header fields that differ from flow to flow: `udp.sport=1000-1999`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from labs.harness.frames import ETH_HEADER, ETH_IPV4, ETH_IPV6, ICMPV6, TCP, UDP, VLAN_TYPES, layout
from xdp.pyxdp.errors import InputError

from .layout import InSum

VARIABLE = (
    "eth.src",
    "eth.dst",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ip.id",
    "ip6.src",
    "ip6.dst",
    "udp.sport",
    "udp.dport",
    "tcp.sport",
    "tcp.dport",
)
MAX_VALUES = 65536  # a stamp's flow number has 16 bits


@dataclass(frozen=True)
class Place:
    """Where a field lies in one frame: the whole of it, and the 2 or 4 bytes at its end that vary."""

    offset: int
    size: int
    sums: InSum

    @property
    def varied_offset(self) -> int:
        """First of the bytes that vary: of MAC and IPv6 addresses the last four do."""
        return self.offset + max(0, self.size - 4)

    @property
    def varied_size(self) -> int:
        """2 or 4."""
        return min(self.size, 4)


@dataclass(frozen=True)
class Vary:
    """A field that takes the values `first` to `last` in turn, one a flow.

    Attributes:
        field: one of `VARIABLE`.
        first, last: as numbers; addresses too.
    """

    field: str
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.field not in VARIABLE:
            raise InputError(f"field {self.field!r} cannot vary; those that can: {', '.join(VARIABLE)}")
        highest = (1 << _bits(self.field)) - 1
        if not 0 <= self.first <= self.last <= highest:
            raise InputError(
                f"{self.field} from {self.first} to {self.last}: give a first and a last value, the "
                f"first not the greater, both at most {highest}"
            )
        if self.values > MAX_VALUES:
            raise InputError(
                f"{self.field} would take {self.values} values: at most {MAX_VALUES} flows are told apart"
            )
        if self.first >> 32 != self.last >> 32:
            raise InputError(f"{self.field}: only the last four bytes of an address can vary")

    @property
    def values(self) -> int:
        """How many values it takes."""
        return self.last - self.first + 1

    def value(self, flow: int) -> bytes:
        """The whole field in the frames of a flow."""
        return (self.first + flow % self.values).to_bytes(-(-_bits(self.field) // 8), "big")

    @classmethod
    def parse(cls, text: str) -> Vary:
        """From "udp.sport=1000-1999", "ip.src=10.0.0.1-10.0.0.9", "eth.src=02:00:00:00:00:01-02:…:09".

        Raises:
            InputError: not of this form, an unknown field, or values that do not fit it.
        """
        match = re.fullmatch(r"\s*([\w.]+)\s*=\s*([^-\s]+)\s*(?:-\s*([^-\s]+)\s*)?", text)
        if not match:
            raise InputError(
                f"cannot read {text!r}: write it as FIELD=FIRST-LAST, such as udp.sport=1000-1999"
            )
        field, first, last = match.groups()
        if field not in VARIABLE:
            raise InputError(f"field {field!r} cannot vary; those that can: {', '.join(VARIABLE)}")
        return cls(field, _number(field, first), _number(field, last or first))

    def __str__(self) -> str:
        return f"{self.field}={_text(self.field, self.first)}-{_text(self.field, self.last)}"

    def place(self, frame: bytes | bytearray) -> Place | None:
        """Where the field lies in a frame, None if it has no such field."""
        offset, kind, tag = ETH_HEADER, int.from_bytes(frame[12:14], "big"), 0
        for _ in range(2):
            if kind in VLAN_TYPES and len(frame) >= offset + 4:
                tag = tag or offset
                kind = int.from_bytes(frame[offset + 2 : offset + 4], "big")
                offset += 4
        group, name = self.field.split(".")
        if group == "eth":
            return Place(6 if name == "src" else 0, 6, InSum(0))
        if group == "vlan":
            return Place(tag, 2, InSum(0)) if tag else None
        where = layout(frame)
        # ICMP over IPv4 is the one transport whose checksum covers no addresses.
        covered = InSum.L4 if where.protocol in (TCP, UDP, ICMPV6) else InSum(0)
        if group == "ip" and kind == ETH_IPV4:
            if name == "id":
                return Place(offset + 4, 2, InSum.IP)
            return Place(offset + (12 if name == "src" else 16), 4, InSum.IP | covered)
        if group == "ip6" and kind == ETH_IPV6:
            return Place(offset + (8 if name == "src" else 24), 16, covered)
        if (group, where.protocol) in (("udp", UDP), ("tcp", TCP)):
            header = 8 if where.protocol == UDP else where.payload - _l4_start(frame, offset, kind)
            start = where.payload - header
            return Place(start + (0 if name == "sport" else 2), 2, InSum.L4)
        return None


def _l4_start(frame: bytes | bytearray, offset: int, kind: int) -> int:
    """Where TCP begins; its header's length is only known from there."""
    if kind == ETH_IPV4:
        return offset + 4 * (frame[offset] & 15)
    where, protocol, start = layout(frame), frame[offset + 6], offset + 40
    while protocol != where.protocol:
        protocol, start = frame[start], start + 8 * (frame[start + 1] + 1)
    return start


def _bits(field: str) -> int:
    group, name = field.split(".")
    if field == "vlan.id":
        return 12
    if name in ("sport", "dport", "id"):
        return 16
    return {"eth": 48, "ip": 32, "ip6": 128}[group]


def _number(field: str, text: str) -> int:
    group, name = field.split(".")
    try:
        if group == "eth":
            if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
                raise ValueError
            return int(text.replace(":", ""), 16)
        if name in ("src", "dst"):
            return int(ipaddress.IPv4Address(text) if group == "ip" else ipaddress.IPv6Address(text))
        return int(text, 0)
    except ValueError:
        kind = {"eth": "a MAC address", "ip": "an IPv4 address", "ip6": "an IPv6 address"}
        wanted = kind[group] if name in ("src", "dst") else "a number"
        raise InputError(f"{field}: {text!r} is not {wanted}") from None


def _text(field: str, value: int) -> str:
    group, name = field.split(".")
    if group == "eth":
        return value.to_bytes(6, "big").hex(":")
    if name in ("src", "dst"):
        return str(ipaddress.IPv4Address(value) if group == "ip" else ipaddress.IPv6Address(value))
    return str(value)
