# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of this lab: the foreign programs, compiled as their authors would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.compiler import compile_c
from labs.harness.topology import PAIR
from labs.why.scene import Scene
from xdp.compiler import compile_bpf
from xdp.program import ProgramSpec

SOURCES = Path(__file__).with_name("src")


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AF_XDP program with a fault."""
    return compile_c(SOURCES / "faulty.c", tmp_path_factory.mktemp("why") / "faulty")


@pytest.fixture(scope="session")
def plain_udp(tmp_path_factory: pytest.TempPathFactory) -> ProgramSpec:
    """An XDP program that knows no VLAN."""
    path = tmp_path_factory.mktemp("why") / "plain_udp.o"
    return ProgramSpec(str(compile_bpf(SOURCES / "plain_udp.bpf.c", path)))


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Gen and dut, one queue."""
    with Scene(PAIR) as made:
        yield made
