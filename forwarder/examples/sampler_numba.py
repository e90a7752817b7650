# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
r"""The same sampler, a packet at a time at C speed; its context counts, for each queue apart.

xdplab forward -i dut0 --out dut1 --verdict forwarder.examples.sampler_numba:decide --verdict-context 8 \
               --pcapng sample.pcapng --pcapng-marked --pcapng-snap 128
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from forwarder.verdict import CAPTURE, FORWARD, verdict_function

from .sampler import EVERY


@verdict_function
def decide(_data: Any, _length: Any, context: Any) -> Any:
    """The verdict of a packet."""
    seen = carray(context, 1, dtype=np.uint64)
    marked = seen[0] % EVERY == 0
    seen[0] += 1
    return FORWARD | CAPTURE if marked else FORWARD
