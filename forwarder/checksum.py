# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Internet checksums that are updated, not computed anew (RFC 1624).

Plain arithmetic: the same functions work on numbers, on NumPy arrays of int64, and inside verdict functions
(`numba.njit(checksum.replaced)`).
"""

from __future__ import annotations

from typing import Any


def words(address: Any) -> Any:
    """The sum of the two 16-bit words of a 32-bit value, such as an IPv4 address."""
    return (address >> 16) + (address & 0xFFFF)


def replaced(checksum: Any, old: Any, new: Any, count: int) -> Any:
    """The checksum after some 16-bit words that it covers were replaced: HC' = ~(~HC + ~m + m').

    Args:
        checksum: as it stands in the header, in host order.
        old: sum of the words that were there.
        new: sum of the words that are there now.
        count: how many words that is, at most 8.
    """
    total = (0xFFFF - checksum) + (0xFFFF * count - old) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
