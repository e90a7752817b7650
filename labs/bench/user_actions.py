# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The built-in actions as users would write them, for `make bench-forwarder` to compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import carray

from forwarder.batch import Batch
from forwarder.verdict import DROP, FORWARD, verdict_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE, DESTINATION = "02:00:00:00:00:01", "02:00:00:00:00:02"
SOURCE_NUMBER, DESTINATION_NUMBER = (int(mac.replace(":", ""), 16) for mac in (SOURCE, DESTINATION))
MACS = np.frombuffer(bytes.fromhex((DESTINATION + SOURCE).replace(":", "")), dtype=np.uint8).copy()


@verdict_function
def drop(_data: Any, _length: Any, _context: Any) -> Any:
    """The action drop."""
    return DROP


def drop_batch(packets: NDArray[np.void], _frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The action drop, over a batch."""
    return np.full(len(packets), DROP, dtype=np.uint8)


@verdict_function
def forward(data: Any, length: Any, _context: Any) -> Any:
    """The action forward with both addresses set."""
    if length < 14:
        return DROP
    head = carray(data, 12)
    for i in range(12):
        head[i] = MACS[i]
    return FORWARD


def forward_batch(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The action forward with both addresses set, over a batch."""
    Batch(packets, frames).set_macs(source=SOURCE_NUMBER, destination=DESTINATION_NUMBER)
    return np.full(len(packets), FORWARD, dtype=np.uint8)
