# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of this lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.xskmap.station import Station


@pytest.fixture
def station() -> Iterator[Station]:
    """One queue, 64 slots, no socket yet."""
    with Station() as made:
        yield made


def _mapped() -> int:
    return Path("/proc/self/maps").read_text().count("bpf-map")


@pytest.fixture(autouse=True)
def no_map_stays_in_memory() -> Iterator[None]:
    """A BPF map that is mapped into memory lives on without a descriptor, unseen by the plugin."""
    before = _mapped()
    yield
    assert _mapped() == before
