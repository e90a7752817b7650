# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab run`: finds the lab.

A lab that can be run is a folder of labs/ with a module `cli` that has `main(argv) -> exit code`.
"""

from __future__ import annotations

import importlib
import pkgutil

import labs
from labs.harness.requirements import why_not
from xdp.pyxdp.errors import InputError

DEFAULT = "pipeline"


def available() -> list[str]:
    """The labs that can be run by name."""
    found = []
    for module in pkgutil.iter_modules(labs.__path__):
        package = importlib.import_module(f"labs.{module.name}") if module.ispkg else None
        if package is not None and any(part.name == "cli" for part in pkgutil.iter_modules(package.__path__)):
            found.append(module.name)
    return [name for name in found if name != "harness"]


def main(argv: list[str]) -> int:
    """Runs the lab named first, or the main lab; `--list` names them all."""
    if argv and argv[0] == "--list":
        print("\n".join(available()))
        return 0
    name, options = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else (DEFAULT, argv)
    if name not in available():
        raise InputError(f"there is no lab {name!r}; there are {', '.join(available())}")
    if not {"-h", "--help"} & set(options) and why_not():
        raise InputError(why_not())
    return int(importlib.import_module(f"labs.{name}.cli").main(options))
