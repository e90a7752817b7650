# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compiles the AF_XDP programs in plain C that labs start as somebody else's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from xdp.pyxdp.errors import InputError

SHARED = Path(__file__).with_name("src")


def compile_c(source: Path, target: Path) -> Path:
    """Compiles a program that uses libxdp, as its author would; gives the target.

    Raises:
        InputError: there is no C compiler.
        CalledProcessError: it refused, and said why on stderr.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise InputError("there is no C compiler: install gcc")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-I", str(SHARED)]
    subprocess.run([compiler, *flags, "-o", str(target), str(source), "-lxdp", "-lbpf"], check=True)
    return target
