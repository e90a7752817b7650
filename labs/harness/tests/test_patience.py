# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Deadlines grow by the factor that a slow machine sets, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.harness import patience
from xdp.pyxdp.errors import InputError


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    patience.factor.cache_clear()
    yield
    patience.factor.cache_clear()


def test_without_a_factor_deadlines_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(patience.SLOW, raising=False)
    assert patience.patient(2.5) == 2.5


def test_they_grow_by_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.SLOW, "12.5")
    assert patience.patient(2) == 25


@pytest.mark.parametrize("text", ["", "fast", "0.5", "-3", "nan", "1e9"])
def test_what_is_no_factor_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.SLOW, text)
    with pytest.raises(InputError, match="give a factor from 1 to 1000"):
        patience.patient(1)
