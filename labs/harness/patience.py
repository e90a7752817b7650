# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How much longer than on an ordinary machine a deadline is: emulation takes some twenty times as long.

`XDPLAB_SLOW` is that factor. `xdplab vm` sets it for guests without hardware virtualisation.
Deadlines only grow with it: what takes no longer than before waits no longer.
"""

from __future__ import annotations

import functools
import os

from xdp.pyxdp.errors import InputError

SLOW = "XDPLAB_SLOW"
MOST = 1000.0


@functools.cache
def factor() -> float:
    """The factor, 1 if none is set.

    Raises:
        InputError: it is no number from 1 to 1000.
    """
    text = os.environ.get(SLOW, "1")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MOST:
        raise InputError(f"{SLOW}={text}: give a factor from 1 to {MOST:g}")
    return value


def patient(seconds: float) -> float:
    """A deadline as this machine needs it."""
    return seconds * factor()
