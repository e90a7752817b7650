# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Starts a forwarder as fast as Python can, as labs start one for each test.

Half of a start is `site`: an editable install's loader alone imports a hundred modules and runs ninja. So the
forwarder is started as a script, without `site`, and told where its C core lies. Other packages (NumPy, rich,
what the user's function needs) are looked for only once something is not found without them.

`xdplab forward` has paid for `site` before a line of ours runs, and does not start itself anew without it:
until --help is printed it takes 75 ms of CPU time, 41 of them for a start of Python that does nothing, and a
start without `site` takes 52 for the same text.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

CORE = "XDPLAB_CORE"  # environment variable: the folder of the C core
# What the standard library tries and does without: its own of other systems, and Jython's.
_ABSENT = {*sys.stdlib_module_names, "org"}


def command() -> tuple[str, ...]:
    """What runs a forwarder of this installation; options follow."""
    return (sys.executable, "-S", os.path.join(os.path.dirname(__file__), "__main__.py"))  # noqa: PTH118, PTH120


def environment() -> dict[str, str]:
    """What the command needs to be in its environment."""
    from . import _batch

    return {CORE: os.path.dirname(_batch.__file__)}  # noqa: PTH120 (text)


def prepare() -> None:
    """In a forwarder that was started so: finds the core now, and other packages when they are asked for."""
    import forwarder

    core = os.environ.pop(CORE, "")  # nobody whom we start shall take it for his
    if core and core not in forwarder.__path__:
        forwarder.__path__.append(core)
    if sys.flags.no_site:
        sys.meta_path.append(LateSite())


class LateSite:
    """The last of `sys.meta_path`: what nobody else finds may be in site-packages, which are added then."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Runs what Python does at any other start, then asks all finders again."""
        if name.partition(".")[0] in _ABSENT:
            return None
        sys.meta_path.remove(self)
        import site

        site.main()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None
