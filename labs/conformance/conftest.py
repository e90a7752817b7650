# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of this lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.compiler import compile_c
from labs.conformance.bench import Bench
from labs.conformance.site import own_site


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Two veth pairs of the test's own, so that what it leaves behind is seen."""
    with own_site() as site, Bench(site) as made:
        yield made


@pytest.fixture
def echo_command(tmp_path: Path) -> Path:
    """The plain C forwarder of labs/foreign, built."""
    return compile_c(Path(__file__).parents[1] / "foreign" / "src" / "echo.c", tmp_path / "echo")
