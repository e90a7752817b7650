# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An allow-list filter: IPv4 from known sources goes on to --out, all else is dropped; a batch at a time.

xdplab forward -i dut0 --out dut1 --batch 256 --python forwarder.examples.allow_list:decide
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import numpy as np

from forwarder.batch import Batch
from forwarder.verdict import DROP, FORWARD, NOT_MATCHED

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALLOWED = ("192.0.2.1", "192.0.2.7", "192.0.2.11", "198.51.100.20")  # yours


def as_numbers(addresses: tuple[str, ...]) -> NDArray[np.uint32]:
    """Addresses as numbers, sorted."""
    return np.unique(np.array([int(ipaddress.IPv4Address(one)) for one in addresses], dtype=np.uint32))


SOURCES = as_numbers(ALLOWED)


def decide(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Verdicts of a batch."""
    ip = Batch(packets, frames).ipv4()
    place = np.searchsorted(SOURCES, ip.source)
    found = SOURCES[np.minimum(place, len(SOURCES) - 1)] == ip.source
    return np.where(ip.is_ipv4, np.where(found, FORWARD, DROP), NOT_MATCHED).astype(np.uint8)
