# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every case holds on this kernel: once in native mode with need_wakeup, a few in generic mode.

All modes: test_command.py. That each can fail: test_sabotage.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from labs.conformance.bench import Bench
from labs.conformance.case import Result
from labs.conformance.mode import Mode
from labs.conformance.runner import run_case, run_matrix
from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES

pytestmark = pytest.mark.lab


NATIVE = Mode("native")
GROUPS = sorted({case.group for case in SOCKET_CASES.values()})
# veth does not say how large its buffers are, so the kernel grows no packet of several.
NOT_ON_VETH = {"jumbo_tail_grown"}
LONG = {"rebind_100"}  # three seconds: test_command.py runs it


def all_passed(results: Iterable[Result]) -> None:
    """No skips either: this kernel has all that the cases need."""
    others = [f"{one.case}: {one.outcome}: {one.reason}" for one in results if one.outcome != "pass"]
    assert not others, "\n".join(others)


@pytest.mark.parametrize("group", GROUPS)
def test_in_native_mode(bench: Bench, group: str) -> None:
    cases = [case for case in SOCKET_CASES.values() if case.group == group]
    cases = [case for case in cases if case.name not in NOT_ON_VETH | LONG]
    all_passed(run_case(bench, case, NATIVE) for case in cases)


def test_in_generic_mode(bench: Bench) -> None:
    cases = [SOCKET_CASES[name] for name in ("receive", "transmit")]
    all_passed(run_case(bench, case, Mode("generic")) for case in cases)


def test_with_a_forwarder_of_ours(bench: Bench) -> None:
    all_passed(run_matrix(bench, [NATIVE], [], list(FORWARDER_CASES.values())))


def test_the_readme_says_what_each_case_proves() -> None:
    text = (Path(__file__).parent / "README.md").read_text()
    proves = {name: case.proves for name, case in SOCKET_CASES.items()}
    proves |= {name: case.proves for name, case in FORWARDER_CASES.items()}
    for name, rule in proves.items():
        assert f"| `{name}` | {rule} |" in text
