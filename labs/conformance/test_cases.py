# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every case holds on this kernel: once in native mode with need_wakeup, a few in generic mode.

All modes: `xdplab conformance`, and test_command.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from labs.conformance.bench import Bench, Env
from labs.conformance.case import Case
from labs.conformance.mode import Mode
from labs.conformance.runner import run_case
from labs.conformance.suite import SOCKET_CASES

pytestmark = pytest.mark.lab


GROUPS = sorted({case.group for case in SOCKET_CASES.values()})


# veth does not say how large its buffers are, so the kernel grows no packet of several.
NOT_ON_VETH = {"jumbo_tail_grown"}


def failures(bench: Bench, mode: Mode, cases: Iterable[Case[Env]]) -> list[str]:
    """Each case that is not passed, skipped ones too: this kernel has all that they need."""
    results = [run_case(bench, case, mode) for case in cases if case.name not in NOT_ON_VETH]
    return [f"{one.case}: {one.outcome}: {one.reason}" for one in results if one.outcome != "pass"]


@pytest.mark.parametrize("group", GROUPS)
def test_in_native_mode(bench: Bench, group: str) -> None:
    cases = [case for case in SOCKET_CASES.values() if case.group == group]
    assert failures(bench, Mode("native"), cases) == []


def test_in_generic_mode(bench: Bench) -> None:
    cases = [SOCKET_CASES[name] for name in ("receive", "transmit")]
    assert failures(bench, Mode("generic"), cases) == []
