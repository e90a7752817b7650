# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fails unless the labs were really run: a green run in which labs were skipped proves nothing.

Usage: check_labs.py JUNIT_XML < node ids of all labs (`pytest -m "lab or system" --collect-only -q`)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree


def identity(node: str) -> tuple[str, str]:
    """(classname, name) by which JUnit's XML calls a test with this node id."""
    test, bracket, parameters = node.partition("[")
    path, *inner = test.split("::")
    return ".".join([path.removesuffix(".py").replace("/", "."), *inner[:-1]]), inner[
        -1
    ] + bracket + parameters


def problems(report: Path, nodes: Iterable[str]) -> list[str]:
    """One line for each lab that did not run, or one that says that there was none."""
    ran: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 (we wrote the file ourselves)
        skipped = case.find("skipped")
        reason = "" if skipped is None else f"was skipped: {skipped.get('message')}"
        ran[case.get("classname", ""), case.get("name", "")] = reason
    labs = [node for node in nodes if "::" in node]
    if not labs:
        return ["there is no lab"]
    found = [(node, ran.get(identity(node), "did not run")) for node in labs]
    return [f"{node} {problem}" for node, problem in found if problem]


def main() -> int:
    """Print the problems; the exit code says whether there are any."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("check_labs: needs the file that pytest --junitxml wrote", file=sys.stderr)
        return 2
    nodes = [line.strip() for line in sys.stdin]
    found = problems(Path(sys.argv[1]), nodes)
    for problem in found:
        print(f"check_labs: {problem}", file=sys.stderr)
    if not found:
        print(f"check_labs: all {sum('::' in node for node in nodes)} labs were run")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
