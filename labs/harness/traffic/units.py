# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Numbers as people write them: 10k, 1.5M, 100Mbit; and back."""

from __future__ import annotations

import math
import re
from typing import Literal

from xdp.pyxdp.errors import InputError

FACTORS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
Unit = Literal["pps", "bps"]


def number(text: str) -> int:
    """A count: "10000", "10k", "1.5M".

    Raises:
        InputError: not of this form, or no whole number.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text.strip().replace("_", "").replace(",", ""))
    if not match:
        raise InputError(f"{text!r} is no number: write it as 10000, 10k or 1.5M")
    value = float(match[1]) * FACTORS[match[2].lower()]
    if value != int(value):
        raise InputError(f"{text!r} is no whole number")
    return int(value)


def rate(text: str) -> tuple[float, Unit]:
    """A rate: "10k", "500kpps", "1.5M" in frames a second; "100Mbit", "1Gbit/s", "2.5Gbps" in bits a second.

    Raises:
        InputError: not of this form, or not more than 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)\s*(pps|bit|bit/s|bps)?", text.strip())
    if not match:
        raise InputError(f"rate {text!r}: write it as 10k (frames a second), 1.5Mpps or 100Mbit")
    value = float(match[1]) * FACTORS[match[2].lower()]
    if not value > 0 or not math.isfinite(value):
        raise InputError(f"rate {text!r}: use more than 0; leave it out to send as fast as it goes")
    return value, "pps" if match[3] in (None, "pps") else "bps"


def short(value: float) -> str:
    """Three or four digits and a prefix: 3.72 M, 10.0 k."""
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.2f}{prefix}"
    return f"{value:.0f} "


def time_text(ns: float) -> str:
    """Nanoseconds as people read them: 640 ns, 8.13 µs, 1.2 ms."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= factor:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns:.0f} ns"
