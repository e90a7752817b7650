# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A load balancer: UDP and TCP over IPv4 to one of N backends by its 5-tuple, checksums updated (RFC 1624).

A flow stays with its backend as long as the list of backends stays. A batch at a time:

xdplab forward -i dut0 --out dut1 --batch 256 --python forwarder.examples.balancer:decide
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import numpy as np

from forwarder.batch import Batch
from forwarder.verdict import FORWARD, NOT_MATCHED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Backends = tuple[tuple[str, str], ...]

# address and MAC of each: yours
BACKENDS: Backends = tuple((f"192.168.2.{10 + n}", "02:00:c0:a8:02:0a") for n in range(4))


def as_numbers(backends: Backends) -> NDArray[np.int64]:
    """A row each: address, MAC."""
    rows = [(int(ipaddress.IPv4Address(ip)), int(mac.replace(":", ""), 16)) for ip, mac in backends]
    return np.array(rows, dtype=np.int64)


def flow_hash(source: Any, destination: Any, ports: Any, protocol: Any) -> Any:
    """32 bits of a 5-tuple; numbers, or arrays of int64, whose 64 bits no step overflows."""
    mixed = source
    for part in (destination, ports, protocol):
        mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D + part) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0x297A2D39) & 0xFFFFFFFF
    return mixed ^ (mixed >> 16)


TABLE = as_numbers(BACKENDS)


def decide(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Verdicts of a batch, whose packets go to their backends."""
    batch = Batch(packets, frames)
    ip = batch.ipv4()
    ours = ip.is_udp | ip.is_tcp
    ports = ip.source_port << 16 | ip.destination_port
    backend = TABLE[flow_hash(ip.source, ip.destination, ports, ip.protocol) % len(TABLE)]
    ip.rewrite(destination=backend[:, 0], where=ours)
    batch.set_macs(destination=backend[:, 1], where=ours)
    return np.where(ours, FORWARD, NOT_MATCHED).astype(np.uint8)
