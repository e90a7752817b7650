# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the harness's own tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.harness.topology import PAIR, Topology


@pytest.fixture
def pair() -> Iterator[Topology]:
    """gen and dut, joined by a veth pair; a test's own fixture of this name may be another."""
    with Topology.build(PAIR) as topology:
        yield topology
