# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The programs that virtual machines take, asked for only by the commands that use them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from xdp.pyxdp.errors import InputError

# Each program and the Debian package that holds it; scripts/setup --vm installs the first four.
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "zstd": "zstd",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg": "dpkg",
}
_places = ("/usr/sbin", "/sbin")  # where not every user looks


def find(program: str) -> str | None:
    """Where a program is, or None."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_places])
    return shutil.which(program, path=path)


def need(*programs: str) -> None:
    """Sees that they are there.

    Raises:
        InputError: some are missing; names the packages to install.
    """
    missing = [program for program in programs if find(program) is None]
    if missing:
        packages = sorted({PACKAGES[program] for program in missing})
        raise InputError(
            f"virtual machines need {', '.join(missing)}: install {' '.join(packages)} (Debian's names; "
            "scripts/setup --vm does it)"
        )


def static_busybox() -> Path:
    """The busybox that runs without any library, as nothing else is there before the root file system is.

    Raises:
        InputError: there is none, or it is linked dynamically.
    """
    need("busybox")
    path = Path(str(find("busybox"))).resolve()
    if b"/ld-linux" in path.read_bytes()[:4096]:  # PT_INTERP stands behind the program headers
        raise InputError(f"{path} needs shared libraries: install busybox-static")
    return path
