# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""libbpf's feature probes: each tries the feature, none looks at the kernel's version."""

from __future__ import annotations

from . import log
from ._native import libbpf
from .errors import KernelError
from .kernel import MapType, ProgType


def _answer(result: int, what: str) -> bool:
    if result < 0:
        raise KernelError("probe", what, result)
    return result == 1


def prog_type(kind: ProgType) -> bool:
    """Does the kernel load programs of this type?

    Raises:
        KernelError: the probe itself failed (EOPNOTSUPP: libbpf cannot probe this type).
    """
    with log.captured():
        return _answer(libbpf().libbpf_probe_bpf_prog_type(kind, None), f"program type {kind.name}")


def map_type(kind: MapType) -> bool:
    """Does the kernel create maps of this type?"""
    with log.captured():
        return _answer(libbpf().libbpf_probe_bpf_map_type(kind, None), f"map type {kind.name}")


def helper(kind: ProgType, number: int) -> bool:
    """May programs of this type call the helper with this number (BPF_FUNC_*, linux/bpf.h)?"""
    with log.captured():
        return _answer(
            libbpf().libbpf_probe_bpf_helper(kind, number, None), f"helper {number} in {kind.name}"
        )
