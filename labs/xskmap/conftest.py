# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of this lab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.xskmap.station import Station


@pytest.fixture
def station() -> Iterator[Station]:
    """One queue, 64 slots, no socket yet."""
    with Station() as made:
        yield made


def _held() -> tuple[int, int]:
    """Open descriptors, and BPF maps that are mapped into memory: those live on without a descriptor."""
    mapped = Path("/proc/self/maps").read_text().count("bpf-map")
    return len(os.listdir("/proc/self/fd")), mapped  # noqa: PTH208 (counted only)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test of this lab leaves a descriptor or a mapped BPF map."""
    before = _held()
    yield
    assert _held() == before
