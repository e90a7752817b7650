# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long the suite waits for what must come: long, as that costs nothing where it comes."""

from __future__ import annotations

import time

from labs.harness.patience import patient

PATIENCE_S = 3.0


class Deadline:
    """A moment by which something must have come.

    Args:
        seconds: from now on an ordinary machine; None for `PATIENCE_S`.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = patient(PATIENCE_S if seconds is None else seconds)
        self._end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds until then, not below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """It has come and gone."""
        return time.monotonic() > self._end
