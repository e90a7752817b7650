# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All cases, in the order of the table."""

from __future__ import annotations

from labs.conformance import (
    cases_forwarder,
    cases_invalid,
    cases_jumbo,
    cases_life,
    cases_poll,
    cases_programs,
    cases_sharing,
    cases_statistics,
    cases_traffic,
)
from labs.conformance.case import Case, case, forwarder_case
from labs.conformance.env import Env
from labs.conformance.forwarding import Forwarding

# To import a module of cases is what enters them; this is their order in the table.
MODULES = (
    cases_traffic,
    cases_poll,
    cases_invalid,
    cases_statistics,
    cases_programs,
    cases_sharing,
    cases_jumbo,
    cases_life,
    cases_forwarder,
)

SOCKET_CASES: dict[str, Case[Env]] = {
    name: one
    for module in MODULES
    for name, one in case.cases.items()
    if one.run.__module__ == module.__name__
}
FORWARDER_CASES: dict[str, Case[Forwarding]] = forwarder_case.cases
