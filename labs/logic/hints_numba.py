# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""src/hints.c, as it is written with numba: before the packet there are bytes, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from forwarder.metadata import RX_METADATA, VLAN, place
from forwarder.verdict import BACK, DROP, NOT_MATCHED, verdict_function

SIZE = np.dtype(RX_METADATA).itemsize
VALID_AT = place("valid")
KEPT, HEAD, ENTRY = 64, 8, SIZE + 8


@verdict_function
def decide(data: Any, length: Any, context: Any) -> Any:
    """Keeps the metadata and the port of each packet; sends back what had a tag."""
    kept = carray(context, HEAD + KEPT * ENTRY, np.uint8)
    packets = kept[0]  # of 8 bytes; there are fewer than 256
    if length < 36 or packets == KEPT:
        return NOT_MATCHED
    at = HEAD + packets * ENTRY
    for i in range(SIZE):
        kept[at + i] = data[i - SIZE]
    kept[at + SIZE], kept[at + SIZE + 1] = data[35], data[34]
    kept[0] = packets + 1
    return BACK if data[VALID_AT] & VLAN else DROP
