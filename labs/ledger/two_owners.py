# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Our forwarder with a bug built in: its completion ring's indices begin as garbage, not as zeros.

libxdp 1.3 does not initialise them, so a ring struct on the stack does this to anybody. The first look at the
ring then finds completions that never were: the frame that stands there is free once more each time, and gets
as many owners.
"""

from __future__ import annotations

import sys
from typing import Any

from forwarder.cli import main
from xdp.pyxdp import xsk

STALE = 63  # odd: echo turns a frame round once an owner, and an even number hides it from the receiver


class GarbageUmem(xsk.XskUmem):
    """A UMEM whose completion ring was not zeroed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.completion.cached_cons = 2**32 - STALE


class GarbageSocket(xsk.XskSocket):
    """The same for a second device's ring, out of which "forward" sends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if options.get("shared"):
            self.completion.cached_cons = 2**32 - STALE


if __name__ == "__main__":
    xsk.XskUmem = GarbageUmem  # type: ignore[misc]  # on purpose: what the forwarder will make
    xsk.XskSocket = GarbageSocket  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
