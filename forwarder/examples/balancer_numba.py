# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
r"""The same load balancer, a packet at a time at C speed; its context holds the backends, and counts.

xdplab forward -i dut0 --out dut1 --verdict forwarder.examples.balancer_numba:decide \
               --verdict-context forwarder.examples.balancer_numba:context
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import carray, njit

from forwarder import checksum
from forwarder.verdict import FORWARD, NOT_MATCHED, verdict_function

from .balancer import TABLE, flow_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAPACITY = 64
UDP, TCP = 17, 6
CONTEXT = np.dtype(
    [("count", np.int64), ("backends", np.int64, (CAPACITY, 2)), ("packets", np.uint64, CAPACITY)], align=True
)
hashed, replaced, words = njit(flow_hash), njit(checksum.replaced), njit(checksum.words)


def context(_queue: int, table: NDArray[np.int64] = TABLE) -> NDArray[np.void]:
    """The context of one queue: rows of address and MAC, counters 0."""
    made = np.zeros(1, dtype=CONTEXT)
    made["count"] = len(table)
    made["backends"][0, : len(table)] = table
    return made


@njit  # type: ignore[untyped-decorator]
def get(data: Any, at: Any, size: Any) -> Any:
    """A big-endian number."""
    value = np.int64(0)
    for i in range(size):
        value = value << 8 | data[at + i]
    return value


@njit  # type: ignore[untyped-decorator]
def put(data: Any, at: Any, size: Any, value: Any) -> None:
    """Writes a big-endian number."""
    for i in range(size):
        data[at + i] = (value >> (8 * (size - 1 - i))) & 0xFF


@verdict_function
def decide(data: Any, length: Any, context: Any) -> Any:
    """The verdict of a packet, which goes to its backend."""
    if length < 34 or get(data, 12, 2) != 0x0800 or data[14] >> 4 != 4:
        return NOT_MATCHED
    header, total, protocol = (data[14] & 15) * 4, get(data, 16, 2), data[23]
    least = 8 if protocol == UDP else 20 if protocol == TCP else 65536
    fragment = get(data, 20, 2) & 0x3FFF
    if header < 20 or total > length - 14 or total < header + least or fragment:
        return NOT_MATCHED
    transport = 14 + header
    state = carray(context, 1, dtype=CONTEXT)[0]
    source, destination, ports = get(data, 26, 4), get(data, 30, 4), get(data, transport, 4)
    chosen = hashed(source, destination, ports, np.int64(protocol)) % state.count
    address = state.backends[chosen, 0]
    old, new = words(destination), words(address)
    put(data, 30, 4, address)
    put(data, 24, 2, replaced(get(data, 24, 2), old, new, 2))
    at = transport + (6 if protocol == UDP else 16)
    before = get(data, at, 2)
    if protocol == TCP or before:  # UDP: 0 says that there is none (RFC 768)
        after = replaced(before, old, new, 2)
        put(data, at, 2, 0xFFFF if protocol == UDP and not after else after)
    put(data, 0, 6, state.backends[chosen, 1])
    state.packets[chosen] += 1
    return FORWARD
