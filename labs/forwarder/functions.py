# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Batch functions that the labs name with --python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAYLOAD = 42  # Ethernet, IPv4 and UDP headers


def odd_back(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drops what has an even last byte of its sequence number; sends the rest back, marked, MACs swapped."""
    size = frames.shape[1]
    rows, offsets = packets["addr"] // size, packets["addr"] % size
    assert (packets["len"] >= PAYLOAD + 4).all()
    verdicts = frames[rows, offsets + PAYLOAD + 3] & 1
    macs = offsets[:, None] + np.arange(12)
    frames[rows[:, None], macs] = np.roll(frames[rows[:, None], macs], 6, axis=1)
    frames[rows, offsets + PAYLOAD + 4] = ord("!")
    return np.asarray(verdicts, dtype=np.uint8)


def fail(_packets: NDArray[np.void], _frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As users' functions do at times."""
    raise ZeroDivisionError("on purpose")


def too_many(packets: NDArray[np.void], _frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Answers for a packet that is not there."""
    return np.zeros(len(packets) + 1, dtype=np.uint8)
