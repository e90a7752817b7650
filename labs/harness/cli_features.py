# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab features`: what this kernel can do, and why what it cannot."""

from __future__ import annotations

import dataclasses
import json

from labs.harness.arguments import Parser
from labs.harness.requirements import lab_requirements
from xdp.features import Feature, features


def main(argv: list[str]) -> int:
    """Prints a table or JSON; 0 if the labs can run here, else 1."""
    parser = Parser(
        prog="xdplab features",
        description="Tries each feature on the running kernel. Exit code 1: the labs cannot run here.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    found = [*features(), *lab_requirements()]
    if arguments.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    else:
        print_table(found)
    required = {"root", "af_xdp", "xdp", "xskmap", "namespaces", "native_xdp_on_veth"}
    return 0 if all(one.available for one in found if one.name in required) else 1


def print_table(found: list[Feature]) -> None:
    """A line a feature."""
    from rich.table import Table

    from labs.harness.console import console

    table = Table(box=None, pad_edge=False)
    for column in ("feature", "here", "for", "why not"):
        table.add_column(column)
    for one in found:
        table.add_row(one.name, "[green]yes[/]" if one.available else "[red]no[/]", one.purpose, one.reason)
    console().print(table)
