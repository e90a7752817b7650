# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of this lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.conformance.bench import Bench
from labs.conformance.site import own_site


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Two veth pairs of the test's own, so that what it leaves behind is seen."""
    with own_site() as site, Bench(site) as made:
        yield made
