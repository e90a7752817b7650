# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""In how many ways an AF_XDP socket can be run: XDP mode, zero-copy, need_wakeup, busy polling."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from xdp.pyxdp import xsk
from xdp.pyxdp.errors import InputError

Kind = Literal["native", "generic", "zerocopy"]
KINDS: tuple[Kind, ...] = ("native", "generic", "zerocopy")


@dataclass(frozen=True)
class Mode:
    """One way.

    Attributes:
        kind: "native" and "generic" say how the XDP program is attached, with a socket in copy mode;
            "zerocopy" is native with a zero-copy socket.
        need_wakeup: bound with XDP_USE_NEED_WAKEUP: system calls only where the rings' flags ask for them.
        busy_poll: the socket prefers busy polling (SO_PREFER_BUSY_POLL).
    """

    kind: Kind = "native"
    need_wakeup: bool = True
    busy_poll: bool = False

    @property
    def name(self) -> str:
        """As in "native+wakeup+busy"."""
        return self.kind + "+wakeup" * self.need_wakeup + "+busy" * self.busy_poll

    @property
    def xdp(self) -> Literal["native", "generic"]:
        """How the XDP program is attached."""
        return "generic" if self.kind == "generic" else "native"

    @property
    def bind_flags(self) -> int:
        """XDP_* flags of the bind."""
        flags = xsk.XDP_ZEROCOPY if self.kind == "zerocopy" else xsk.XDP_COPY
        return flags | xsk.XDP_USE_NEED_WAKEUP * self.need_wakeup

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {"name": self.name, **asdict(self)}


MODES = tuple(
    Mode(kind, need_wakeup, busy_poll)
    for kind, busy_poll, need_wakeup in itertools.product(KINDS, (False, True), (True, False))
)


def choose(names: Sequence[str], patterns: Sequence[str], what: str) -> list[str]:
    """The names that match any of the patterns ("native*", "*busy"), in their order; all without a pattern.

    Raises:
        InputError: a pattern matches none.
    """
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InputError(f"no {what} is called {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if not patterns or any(fnmatch.fnmatch(name, p) for p in patterns)]
