# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
r"""The same filter, a packet at a time at C speed; its context holds the list, and what it counts.

xdplab forward -i dut0 --out dut1 --verdict forwarder.examples.allow_list_numba:decide \
               --verdict-context forwarder.examples.allow_list_numba:context
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import carray

from forwarder.verdict import DROP, FORWARD, NOT_MATCHED, verdict_function

from .allow_list import SOURCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAPACITY = 1024
CONTEXT = np.dtype(
    [("count", np.uint32), ("sources", np.uint32, CAPACITY), ("allowed", np.uint64), ("refused", np.uint64)],
    align=True,
)


def context(_queue: int, sources: NDArray[np.uint32] = SOURCES) -> NDArray[np.void]:
    """The context of one queue: sources sorted, counters 0."""
    made = np.zeros(1, dtype=CONTEXT)
    made["count"] = len(sources)
    made["sources"][0, : len(sources)] = sources
    return made


@verdict_function
def decide(data: Any, length: Any, context: Any) -> Any:
    """The verdict of a packet."""
    if length < 34 or data[12] != 8 or data[13] != 0:
        return NOT_MATCHED
    source = data[26] << 24 | data[27] << 16 | data[28] << 8 | data[29]
    state = carray(context, 1, dtype=CONTEXT)[0]
    low, high = 0, state.count
    while low < high:
        middle = (low + high) // 2
        if state.sources[middle] < source:
            low = middle + 1
        else:
            high = middle
    if low < state.count and state.sources[low] == source:
        state.allowed += 1
        return FORWARD
    state.refused += 1
    return DROP
