# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the user names on the command line as MODULE:NAME."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from xdp.pyxdp.errors import InputError


def load(option: str, name: str) -> Any:
    """The object that `module:name` names, imported.

    Args:
        option: the option that names it, for the message.
        name: what was given.

    Raises:
        InputError: there is no such module, or nothing of that name in it.
    """
    # NumPy's OpenBLAS would start threads, which keep the capabilities that we drop in our own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, so that a function beside the user is found
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{option} {name}: {error}") from error
