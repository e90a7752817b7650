# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that the labs name with --python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forwarder.batch import Batch
from forwarder.verdict import BACK, DROP, HOST, MIRROR

if TYPE_CHECKING:
    from numpy.typing import NDArray

OTHER_PORT = 4343
NUMBER_AT = 49  # Ethernet, IPv4, UDP, "XDPL", three bytes of the number


def mirror_each_fourth(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sends back the odd ones with their MACs swapped; marks each fourth, all of which are dropped."""
    batch = Batch(packets, frames)
    number = batch.get(NUMBER_AT, 1)
    batch.swap_macs()
    return (np.where(number & 1, BACK, DROP) | np.where(number % 4 == 0, MIRROR, 0)).astype(np.uint8)


def odd_to_host(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gives the odd ones to the host's stack, to another of its ports; drops the others."""
    batch = Batch(packets, frames)
    odd = batch.get(NUMBER_AT, 1) & 1 == 1
    batch.ipv4().rewrite(destination_port=OTHER_PORT, where=odd)
    return np.where(odd, HOST, DROP).astype(np.uint8)
