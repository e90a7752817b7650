# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the main lab is asked for, as data: the pipeline that it takes, and the datagrams."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from forwarder.spec import ForwarderSpec
from labs.harness.chain import ROOMY
from labs.harness.packets import datagram
from labs.harness.pipeline import PipelineSpec
from labs.harness.topology import PAIR
from labs.harness.traffic import TrafficPlan
from labs.harness.traffic.stamp import STAMP_BYTES
from xdp.attachment import Mode
from xdp.program import ProgramSpec
from xdp.pyxdp.errors import InputError

Engine = Literal["scapy", "xdp"]
ENGINES: tuple[str, ...] = get_args(Engine)
MAX_PACKETS = 10_000_000  # each number is looked for at the receiver, which takes memory
MAX_VERIFIED = 1_000_000_000  # at the sink a number takes two bits
MAX_PINGS = 10_000
PAYLOAD_BYTES = (16, 1472)  # the stamp; MTU 1500 less the headers of IP and UDP
# What each action is meant to do with a datagram: where frames end, and whether they come back.
MEANT = {"echo": "received", "respond": "received", "drop": "forwarder/dropped"}


@dataclass(frozen=True)
class LabSpec:
    """What `xdplab run` was asked for.

    Attributes:
        packets: datagrams to send.
        rate_pps: datagrams a second; None for as fast as the sender goes.
        action: of the forwarder: "echo", "respond" or "drop".
        mode: how the XDP program is attached: "native", "generic" or "auto".
        port: destination port of the datagrams, and of the program's filter.
        payload_bytes: UDP payload of each, at least the 16 bytes of the stamp.
        object: the XDP program: one of the package's, or the path of another with a map `xsks_map`.
        pings: echo requests without and with the pipeline; 0 for none.
        pcap: keep the packets of both devices.
        keep: leave all of it standing.
        engine: "scapy": frame by frame, the replies verified by an ordinary UDP socket; "xdp": made and
            verified in the kernel, millions a second.
    """

    packets: int = 10_000
    rate_pps: float | None = 10_000
    action: str = "echo"
    mode: Mode = "native"
    port: int = 4242
    payload_bytes: int = 18
    object: str = "redirect_udp"
    pings: int = 20
    pcap: bool = False
    keep: bool = False
    engine: str = "scapy"

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InputError(f"--port {self.port}: UDP ports are 1 to 65535")
        if self.action not in MEANT:
            raise InputError(f"--action {self.action}: this lab knows {', '.join(MEANT)}")
        if self.engine not in ENGINES:
            raise InputError(f"--engine {self.engine}: this lab knows {', '.join(ENGINES)}")
        least_payload, most_payload = PAYLOAD_BYTES
        if self.verified:
            least_payload = STAMP_BYTES
            if self.mode == "generic":
                raise InputError(
                    "--engine xdp --mode generic: a veth takes frames from XDP only with a native program; "
                    "use --engine scapy"
                )
            if self.pcap:
                raise InputError("--engine xdp --pcap: no capture sees these frames; use --engine scapy")
        for option, value, (least, most) in (
            ("--packets", self.packets, (0, MAX_VERIFIED if self.verified else MAX_PACKETS)),
            ("--payload", self.payload_bytes, (least_payload, most_payload)),
            ("--pings", self.pings, (0, MAX_PINGS)),
        ):
            if not least <= value <= most:
                raise InputError(f"{option} {value}: give {least} to {most}")

    def pipeline(self) -> PipelineSpec:
        """The pipeline that it takes."""
        rodata = {"udp_port": self.port} if self.object == "redirect_udp" else {}
        return PipelineSpec(
            PAIR,
            ProgramSpec(self.object, rodata=rodata),
            self.mode,
            ForwarderSpec("dut0", action=self.action, **(ROOMY if self.verified else {})),
        )

    @property
    def verified(self) -> bool:
        """Are frames made and verified in the kernel?"""
        return self.engine == "xdp"

    @property
    def meant(self) -> str:
        """Where datagrams are meant to end, "hop/fate"."""
        where = MEANT[self.action]
        return where if "/" in where else f"{'sink' if self.verified else 'receiver'}/{where}"

    @property
    def comes_back(self) -> bool:
        """Are datagrams sent back by the forwarder?"""
        return MEANT[self.action] == "received"

    def traffic(self) -> TrafficPlan:
        """The datagrams."""
        packet = datagram(dport=self.port, payload=bytes(self.payload_bytes))
        plan = TrafficPlan(packet, count=self.packets, rate_pps=self.rate_pps, sequence=True)
        return dataclasses.replace(plan, stamp=True, sequence=None) if self.verified else plan
