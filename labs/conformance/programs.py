# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The suite's XDP programs; what each does is said in its source, xdp/src/conform_*.bpf.c."""

from __future__ import annotations

from xdp.program import ProgramSpec

METADATA = ProgramSpec("conform_metadata", program="conform_metadata")
METADATA_FRAGS = ProgramSpec("conform_metadata", program="conform_metadata_frags")
REDIRECT = ProgramSpec("conform_redirect", program="conform_redirect")
FRAGS = ProgramSpec("conform_redirect", program="conform_frags")
DROP_HALF = ProgramSpec("conform_drop_half")
SPLIT = ProgramSpec("conform_split")


def tail(change: int, *, frags: bool = False) -> ProgramSpec:
    """A program that makes packets longer by so many bytes, or shorter."""
    name = "conform_tail_frags" if frags else "conform_tail"
    return ProgramSpec("conform_tail", program=name, rodata={"bytes": change % (1 << 32)})
