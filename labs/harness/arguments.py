# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Options of commands: what cannot be parsed becomes one sentence, not argparse's usage text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from xdp.pyxdp.errors import InputError


class Parser(argparse.ArgumentParser):
    """Like argparse's, but help keeps its line breaks, and nothing is guessed from half an option."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises InputError, which the command line prints as one line."""
        raise InputError(f"{message}; see {self.prog} --help")


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} does not fit: give {least} to {most}")
        return number

    return parse
