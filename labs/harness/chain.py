# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Through two links: what sends over `CHAIN`, and the forwarder between its links."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forwarder.spec import ForwarderSpec
from labs.harness.packets import datagram
from labs.harness.topology import CHAIN

if TYPE_CHECKING:
    from scapy.packet import Packet

# Rings for a tenth of a second at 160,000 packets a second: on a shared machine a forwarder stands still now
# and then.
ROOMY: dict[str, Any] = {
    "frames": 65536,
    "rx_size": 16384,
    "tx_size": 16384,
    "fill_size": 32768,
    "completion_size": 16384,
}


def chain_datagram(**options: Any) -> Packet:
    """From gen to sink, addressed to the DUT's MAC address, as from a host to its router."""
    router = replace(CHAIN.end("dut0"), addresses=CHAIN.end("sink0").addresses)
    return datagram(CHAIN.end("gen0"), router, **options)


def chain_forwarder(**options: Any) -> ForwarderSpec:
    """From dut0 out of dut1, with the MAC addresses of the second link."""
    macs = {"set_src_mac": CHAIN.end("dut1").mac, "set_dst_mac": CHAIN.end("sink0").mac}
    return ForwarderSpec("dut0", action="forward", out="dut1", **{**macs, **options})
