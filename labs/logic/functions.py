# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that the labs name with --python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forwarder.batch import Batch
from forwarder.verdict import BACK, DROP, MIRROR

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBER_AT = 49  # Ethernet, IPv4, UDP, "XDPL", three bytes of the number


def mirror_each_fourth(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sends back the odd ones with their MACs swapped; marks each fourth, all of which are dropped."""
    batch = Batch(packets, frames)
    number = batch.get(NUMBER_AT, 1)
    batch.swap_macs()
    return (np.where(number & 1, BACK, DROP) | np.where(number % 4 == 0, MIRROR, 0)).astype(np.uint8)
