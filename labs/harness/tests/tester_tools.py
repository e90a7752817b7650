# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the tests of the tester share: packets, and what arrives of a plan."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from scapy.all import IP, UDP, Ether, IPv6, Raw

from labs.harness.sink import Sink, SinkSpec
from labs.harness.sink_report import SinkReport
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import TrafficPlan, TrafficReport, send
from labs.harness.traffic.forge import Forge
from xdp.program import Program, ProgramSpec

GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
ETHER = Ether(src=GEN.mac, dst=DUT.mac)
V4 = IP(src=GEN.ip, dst=DUT.ip)
V6 = IPv6(src="fd00::1", dst="fd00::2")
PACKET = ETHER / V4 / UDP(sport=1000, dport=4242) / Raw(bytes(18))
BIG = 3000


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (repeatable, no secret)


def payload(size: int, seed: int = 0) -> Raw:
    return Raw(chance(seed).randbytes(size))


def checked(
    pair: Topology, plan: TrafficPlan, engine: str = "xdp", urgent: bool = False, **changes: Any
) -> tuple[TrafficReport, SinkReport]:
    with Sink(pair["dut"], "dut0", SinkSpec.of(plan, **changes)) as sink:
        sent = send(plan, pair["gen"], "gen0", engine, urgent=urgent)
        sink.wait(sent.sent)
        return sent, sink.report()


def once(waited: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """Acts while the caller goes on, as soon as what is waited for is there."""

    def run() -> None:
        waited()
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def received(pair: Topology, plan: TrafficPlan, count: int) -> list[bytes]:
    """The frames themselves, as a packet socket behind a program that passes everything sees them."""
    with (
        Program.load(ProgramSpec("xdp_pass")) as program,
        pair["dut"].socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw,
    ):
        raw.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        raw.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        raw.bind(("dut0", 0))
        with pair["dut"].entered():
            program.attach("dut0", "native")
        sent = send(plan, pair["gen"], "gen0", urgent=True)
        assert sent.sent == count
        return drained(raw)


def drained(raw: socket.socket) -> list[bytes]:
    """All frames that came in, with the VLAN tag that the kernel takes out of them."""
    raw.settimeout(0.1)
    frames: list[bytes] = []
    while True:
        try:
            frame, extra, _, address = raw.recvmsg(4096, 256)
        except TimeoutError:
            return frames
        if address[2] == 4:  # PACKET_OUTGOING: the stack's own answers
            continue
        for level, kind, data in extra:
            if (level, kind) == (263, 8):
                status, *_, tag, tag_type = struct.unpack("=IIIHHHH", data)
                if status & 0x10:  # TP_STATUS_VLAN_VALID
                    frame = frame[:12] + struct.pack("!HH", tag_type, tag) + frame[12:]
        frames.append(frame)


def frames_of(plan: TrafficPlan) -> list[bytes]:
    forge = Forge(plan)
    return [forge.frame(index, time.monotonic_ns()) for index in range(plan.frames)]
