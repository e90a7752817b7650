# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
r"""A sampler: all packets go on to --out, and one in N is kept in a pcapng file; a batch at a time.

xdplab forward -i dut0 --out dut1 --batch 256 --python forwarder.examples.sampler:decide \
               --pcapng sample.pcapng --pcapng-marked --pcapng-snap 128
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forwarder.verdict import CAPTURE, FORWARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVERY = 100  # yours


class Sampler:
    """Marks the first packet of each N, over all queues together."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen = 0

    def __call__(self, packets: NDArray[np.void], _frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Verdicts of a batch."""
        verdicts = np.full(len(packets), FORWARD, dtype=np.uint8)
        verdicts[-self.seen % self.every :: self.every] |= CAPTURE
        self.seen += len(packets)
        return verdicts


decide = Sampler(EVERY)
