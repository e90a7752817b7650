# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""libbpf's feature probes: each tries the feature, none looks at the kernel's version.

Not its probe for helpers: libbpf 1.1 looks for a sentence of the verifier that Linux 6.18 words differently,
and says yes to every helper there.
"""

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
