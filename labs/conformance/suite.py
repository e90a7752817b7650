# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All cases, in the order of the table."""

from __future__ import annotations

from labs.conformance import cases_traffic
from labs.conformance.bench import Env
from labs.conformance.case import Case, case

__all__ = ["SOCKET_CASES", "cases_traffic"]  # importing a module of cases is what enters them

SOCKET_CASES: dict[str, Case[Env]] = case.cases
