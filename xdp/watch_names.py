# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the running kernel calls what its tracepoints report: read from its BTF, so never out of date."""

from __future__ import annotations

import contextlib
import errno
import functools
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from .pyxdp.btf import Btf
from .pyxdp.errors import InputError
from .watch_events import ACTIONS, Event

FULL = "FULL"  # a device took fewer frames than it was given, and gave no error
UNSAID = "NOT_SPECIFIED"
# Program of src/watch.bpf.c → its tracepoint.
TRACEPOINTS = {
    "watch_skb": "kfree_skb",
    "watch_exception": "xdp_exception",
    "watch_redirect": "xdp_redirect",
    "watch_redirect_err": "xdp_redirect_err",
    "watch_devmap_xmit": "xdp_devmap_xmit",
}
# Enumerations of reasons that are not the core's: net/mac80211/drop.h, net/openvswitch/drop.h
_SUBSYSTEMS = {"MAC80211_UNUSABLE": "mac80211_drop_reason", "OPENVSWITCH": "ovs_drop_reason"}


@functools.cache
def of_kernel() -> tuple[dict[str, tuple[str, ...]], dict[int, str]]:
    """Argument types of each tracepoint by program, without the first, and names of the drop reasons.

    Raises:
        InputError: a kernel without BTF.
    """
    prototypes: dict[str, tuple[str, ...]] = {}
    with Btf() as btf:
        for program, name in TRACEPOINTS.items():
            try:
                prototypes[program] = tuple(btf.arguments(f"btf_trace_{name}")[1:])
            except InputError:
                prototypes[program] = ()
        return prototypes, dict(_reason_names(btf))


def reason(event: Event) -> str:
    """Why frames were dropped, by name: a drop reason, a verdict, an errno."""
    if event.kind == "skb":
        # Before Linux 5.17 the tracepoint gave none, and there was no enumeration.
        return of_kernel()[1].get(event.index) or (f"REASON_{event.index}" if event.index else UNSAID)
    if event.kind == "exception":
        return ACTIONS[event.index] if event.index < len(ACTIONS) else f"ACTION_{event.index}"
    return errno.errorcode.get(event.error, str(event.error)) if event.error else FULL


def known(name: str) -> str:
    """A drop reason as this kernel gives it: by this name, or NOT_SPECIFIED where it is older than that."""
    return name if name in of_kernel()[1].values() else UNSAID


def function(address: int) -> str:
    """The kernel's function at an address; "" for none, or where /proc/kallsyms shows zeros."""
    return _symbols().name(address) if address else ""


def _reason_names(btf: Btf) -> Iterator[tuple[int, str]]:
    def numbers(enum: str) -> dict[str, int]:
        try:
            return btf.enumerators(enum)
        except InputError:  # an older kernel, or a module that is not loaded
            return {}

    for name, number in numbers("skb_drop_reason").items():
        short = name.removeprefix("SKB_DROP_REASON_")
        if short not in ("MAX", "SUBSYS_MASK"):
            yield number, short
    for name, number in numbers("skb_drop_reason_subsys").items():
        subsystem = name.removeprefix("SKB_DROP_REASON_SUBSYS_")
        for reason, value in numbers(_SUBSYSTEMS.get(subsystem, "")).items():
            # Some enumerations hold the subsystem in the upper 16 bits already.
            yield number << 16 | (value & 0xFFFF), f"{subsystem}:{reason}"


class _Symbols:
    """The kernel's functions by address; none where /proc/kallsyms shows zeros."""

    def __init__(self) -> None:
        found = []
        with contextlib.suppress(OSError):
            for line in Path("/proc/kallsyms").read_text().splitlines():
                address, kind, name = line.split(maxsplit=2)
                if kind in "tTwW" and address.strip("0"):
                    found.append((int(address, 16), name.split()[0]))
        found.sort()
        self._addresses = [address for address, _ in found]
        self._names = [name for _, name in found]

    def name(self, address: int) -> str:
        # A call at a function's very end returns to the next one's first byte.
        at = bisect_right(self._addresses, address - 1) - 1
        return self._names[at] if at >= 0 else ""


@functools.cache
def _symbols() -> _Symbols:
    return _Symbols()
