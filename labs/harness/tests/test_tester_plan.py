# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Plans of the tester: what can be asked, and that each frame is right to the last bit of its checksums."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6EchoRequest, IPv6, Raw
from scapy.layers.inet6 import IPv6ExtHdrDestOpt

from labs.harness.traffic import TrafficPlan, Vary
from labs.harness.traffic.forge import Forge
from labs.harness.traffic.sizes import IMIX, RFC2544, sizes
from labs.harness.traffic.stamp import STAMP_BYTES, TIME_MASK, pack, payload_digest, read
from labs.harness.traffic.units import number, rate
from labs.harness.traffic.xdp_engine import batch_size, burst_size
from xdp.pyxdp.errors import InputError

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="10.0.0.1", dst="10.0.0.2")
V6 = IPv6(src="fd00::1", dst="fd00::2")
PACKET = ETHER / V4 / UDP(sport=1000, dport=4242) / Raw(bytes(18))
SHAPES = {
    "udp over ipv4": PACKET,
    "an odd payload": ETHER / V4 / UDP(sport=1, dport=2) / Raw(bytes(range(61))),
    "ip options": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x01" * 8) / UDP() / Raw(bytes(40)),
    "vlan": ETHER / Dot1Q(vlan=5) / V4 / UDP() / Raw(bytes(30)),
    "two vlans": ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V6 / UDP() / Raw(bytes(1000)),
    "udp over ipv6": ETHER / V6 / UDP() / Raw(bytes(range(200))),
    "extension header": ETHER / V6 / IPv6ExtHdrDestOpt() / UDP() / Raw(bytes(50)),
    "tcp": ETHER / V4 / TCP(options=[("MSS", 1460)]) / Raw(bytes(99)),
    "icmp": ETHER / V4 / ICMP() / Raw(bytes(99)),
    "icmpv6": ETHER / V6 / ICMPv6EchoRequest(data=bytes(99)),
}
ADDRESSES = (Vary.parse("ip.src=10.1.0.1-10.1.2.255"), Vary.parse("ip6.dst=fd00::ff00-fd00::1:0100"))
PORTS = (Vary.parse("udp.sport=1-65000"), Vary.parse("tcp.dport=65000-65535"))


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (repeatable, no secret)


def layers(packet: Any) -> list[Any]:
    found = []
    while packet:
        found.append(packet)
        packet = packet.payload
    return found


def recomputed(frame: bytes) -> bytes:
    """The frame with all checksums made anew by scapy."""
    packet = Ether(frame)
    for layer in layers(packet):
        for name in ("chksum", "cksum"):
            if name in layer.fields and layer.name != "Raw":
                delattr(layer, name)  # not from `fields`: scapy would give its cached bytes again
    return bytes(packet)


@pytest.mark.parametrize("shape", SHAPES)
def test_stamps_and_varied_fields_keep_every_checksum_right(shape: str) -> None:
    packet = bytes(SHAPES[shape])
    vary = tuple(one for one in ADDRESSES + PORTS if one.place(packet))
    forge = Forge(TrafficPlan(packet, count=500, stamp=True, vary=vary))
    assert vary, "each shape has an address"
    source = chance(1)
    for index in [0, 1, *source.sample(range(700), 60)]:
        frame = forge.frame(index, source.getrandbits(48))
        assert frame == recomputed(frame), (shape, index)


def test_fields_take_one_value_a_flow_and_short_ranges_begin_again() -> None:
    vary = (Vary.parse("udp.sport=1000-1004"), Vary.parse("ip.dst=10.0.0.9-10.0.0.10"))
    plan = TrafficPlan(PACKET, count=7, stamp=True, vary=vary)
    assert plan.flow_count == 5
    found = [Ether(Forge(plan).frame(index)) for index in range(7)]
    assert [packet[UDP].sport for packet in found] == [1000, 1001, 1002, 1003, 1004, 1000, 1001]
    assert [packet[IP].dst for packet in found] == [f"10.0.0.{n}" for n in (9, 10, 9, 10, 9, 9, 10)]
    stamps = [read(bytes(packet[Raw])) for packet in found]
    assert [(one.flow, one.sequence, one.intact) for one in stamps if one] == [
        (index % 5, index, True) for index in range(7)
    ]


def test_long_addresses_take_the_ranges_upper_part_too() -> None:
    vary = (Vary.parse("eth.src=06:aa:00:00:00:01-06:aa:00:00:00:03"), Vary.parse("ip6.src=fd99::1-fd99::3"))
    packet = Ether(Forge(TrafficPlan(SHAPES["udp over ipv6"], count=3, vary=vary)).frame(2))
    assert (packet.src, packet[IPv6].src) == ("06:aa:00:00:00:03", "fd99::3")
    assert bytes(packet) == recomputed(bytes(packet))


def test_a_wrong_checksum_stays_as_wrong_and_a_missing_one_missing() -> None:
    wrong, none = PACKET.copy(), PACKET.copy()
    right = Ether(bytes(PACKET))[UDP].chksum
    wrong[UDP].chksum, none[UDP].chksum = right ^ 0x0100, 0
    for index in (0, 77):
        frame = Forge(TrafficPlan(wrong, stamp=True)).frame(index)
        assert frame != recomputed(frame)
        assert Ether(Forge(TrafficPlan(none, stamp=True)).frame(index))[UDP].chksum == 0
    assert Ether(Forge(TrafficPlan(PACKET, stamp=True, zero_checksum=True)).frame(3))[UDP].chksum == 0


def test_a_udp_sum_of_zero_is_sent_as_all_ones() -> None:
    plan = TrafficPlan(PACKET, count=1, stamp=True)
    forge = Forge(plan)
    seen = {int.from_bytes(forge.frame(0, now)[40:42], "big") for now in range(150_000)}
    assert 0 not in seen
    assert 0xFFFF in seen


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31, 32, 33, 600])
def test_every_flipped_bit_of_stamp_and_payload_shows(size: int) -> None:
    payload = chance(size).randbytes(size)
    whole = pack(0x4C58, 7, 123456, 987654321, payload_digest(payload)) + payload
    intact = read(whole)
    assert intact is not None
    assert intact.intact
    for bit in range(16, 8 * len(whole)):  # without the magic: a frame without it is not ours
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        found = read(bytes(changed))
        assert found is not None
        assert not found.intact, bit


def test_changed_order_and_length_of_the_payload_show() -> None:
    source = chance(3)
    words = [source.randbytes(8) for _ in range(4)]
    assert payload_digest(b"".join(words)) != payload_digest(b"".join(reversed(words)))
    assert payload_digest(bytes(16)) != payload_digest(bytes(17))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_pps": 0}, "rate 0"),
        ({"rate_bps": -1}, "rate -1"),
        ({"rate_pps": 1, "rate_bps": 1}, "give one of them"),
        ({"duration_s": 0}, "duration 0"),
        ({"burst": 0}, "burst 0"),
        ({"time_every": 3}, "a time every 3 frames: use one of 1, 2, 4"),
        ({"flows": 70000}, "70000 flows"),
        ({"vary": (Vary("udp.sport", 1, 2),) * 2}, "varies twice"),
        ({"vary": (Vary("udp.sport", 1, 2),) * 5}, "at most 4"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrafficPlan(PACKET, **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp.sport", "write it as"),
        ("ip.ttl=1-2", "cannot vary; those that can"),
        ("udp.sport=5-4", "the first not the greater"),
        ("udp.sport=1-70000", "at most 65535"),
        ("vlan.id=1-4096", "at most 4095"),
        ("ip.src=10.0.0.1-banana", "no.*IPv4 address|not an IPv4 address"),
        ("eth.src=1-2", "not a MAC address"),
        ("ip.src=10.0.0.0-10.9.0.0", "at most 65536 flows"),
        ("ip6.src=fd00::1-fd01::1", "flows|last four bytes"),
    ],
)
def test_a_field_that_cannot_vary_so_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Vary.parse(text)


def test_a_field_that_no_packet_has_is_refused() -> None:
    for text, packet in (
        ("tcp.sport=1-2", PACKET),
        ("vlan.id=1-2", PACKET),
        ("ip.src=1.1.1.1-1.1.1.2", ETHER / ARP()),
    ):
        with pytest.raises(InputError, match="no packet of the plan has this field"):
            Forge(TrafficPlan(packet, vary=(Vary.parse(text),)))
    with pytest.raises(InputError, match="VLAN priority"):
        Forge(TrafficPlan(ETHER / Dot1Q(vlan=1, prio=3) / V4 / UDP(), vary=(Vary.parse("vlan.id=1-2"),)))


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (ETHER / ARP(), "no payload for a stamp"),
        (ETHER / V4 / UDP() / Raw(bytes(17)), "payload of 17 bytes.*1 bytes longer"),
        (ETHER / IP(flags="MF") / UDP() / Raw(bytes(50)), "not fragmented"),
        (ETHER / V4 / UDP() / Raw(bytes(3000)), "3042 bytes: at most 3008"),
        (b"short", "no Ethernet frame"),
    ],
)
def test_a_packet_that_cannot_carry_a_stamp_is_refused(packet: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Forge(TrafficPlan(packet, stamp=True))


def test_sizes_have_names() -> None:
    assert sizes("rfc2544") == RFC2544 == (60, 124, 252, 508, 1020, 1276, 1514)
    assert sorted(sizes("IMIX")) == sorted((60,) * 7 + (590,) * 4 + (1514,))
    assert len(IMIX) == 12
    assert sizes("60,3000") == (60, 3000)
    for text in ("59", "3001", "big", "60,"):
        with pytest.raises(InputError, match="frame size"):
            sizes(text)


def test_numbers_and_rates_are_read_as_people_write_them() -> None:
    assert (number("10k"), number("1.5M"), number("10_000"), number("2,000")) == (10000, 1500000, 10000, 2000)
    assert rate("500k") == (500000, "pps")
    assert rate("1.5Mpps") == (1500000, "pps")
    assert rate("100Mbit") == rate("100Mbit/s") == rate("0.1Gbps") == (100000000, "bps")
    for text in ("0", "-5", "fast", "1e9", "10kHz"):
        with pytest.raises(InputError, match="rate"):
            rate(text)
    with pytest.raises(InputError, match="no whole number"):
        number("1.0001k")


def test_frames_that_go_together_leave_in_one_batch() -> None:
    def batch(**changes: Any) -> int:
        return batch_size(TrafficPlan(PACKET, **changes))

    assert batch() == 64
    assert batch(rate_pps=500_000) == 1
    assert batch(rate_pps=1000, burst=33) == 64
    assert batch(rate_pps=1000, burst=1000) == 256
    assert batch(rate_pps=700_000) == 16
    assert batch(rate_pps=2e6) == 64


@pytest.mark.parametrize(
    ("rate", "asked", "together"), [(500e3, 1, 1), (700e3, 1, 16), (2e6, 1, 64), (2e6, 100, 100)]
)
def test_great_rates_are_carried_by_bursts(rate: float, asked: int, together: int) -> None:
    assert burst_size(TrafficPlan(PACKET, rate_pps=rate, burst=asked)) == together


def test_the_stamp_fits_the_shortest_frame_and_time_wraps() -> None:
    assert STAMP_BYTES == 18 == len(bytes(PACKET)) - 42
    found = read(pack(1, 2, 3, 2**50 + 5, 0), magic=1)
    assert found is not None
    assert (found.sent_ns, found.own_time, found.intact) == ((2**50 + 5) & TIME_MASK, True, True)
