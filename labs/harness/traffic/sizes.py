# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frame sizes by name: RFC 2544, IMIX, or numbers; always without the 4 bytes of the frame check sequence."""

from __future__ import annotations

from xdp.pyxdp.errors import InputError

from .layout import FRAME_BYTES

FCS_BYTES = 4
MIN_BYTES = 60
MAX_BYTES = 3000

# RFC 2544 section 9.1 counts the check sequence; here it is left out, as in every kernel counter.
RFC2544 = tuple(size - FCS_BYTES for size in (64, 128, 256, 512, 1024, 1280, 1518))
# The "simple IMIX": 7 : 4 : 1 of 40, 576 and 1500 bytes of IP, with 14 of Ethernet and padding, spread out.
IMIX = (60, 590, 60, 590, 60, 60, 1514, 60, 590, 60, 590, 60)
NAMES = {"imix": IMIX, "rfc2544": RFC2544}


def sizes(text: str) -> tuple[int, ...]:
    """Frame sizes from "imix", "rfc2544", "64" or "60,590,1514", in bytes without check sequence.

    Raises:
        InputError: no such name, no number, or out of 60 to 3,000.
    """
    named = NAMES.get(text.strip().lower())
    if named:
        return named
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"frame size {text!r}: give bytes such as 60 or 60,1514, or one of {', '.join(NAMES)}"
        ) from None
    for size in found:
        if not MIN_BYTES <= size <= min(MAX_BYTES, FRAME_BYTES):
            raise InputError(
                f"frame size {size}: use {MIN_BYTES} to {MAX_BYTES} bytes, without the check sequence"
            )
    return found
