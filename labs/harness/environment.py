# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where a result was made: what another person needs to know in order to repeat it."""

from __future__ import annotations

import ctypes
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xdp.pyxdp._native import libbpf

DISTRIBUTIONS = ("xdplab", "pyroute2", "scapy", "numpy", "pytest")


def environment() -> dict[str, Any]:
    """Kernel, machine and versions; no names of hosts, users or folders."""
    uname = os.uname()
    return {
        "kernel": {"release": uname.release, "version": uname.version, "machine": uname.machine},
        "distribution": _os_release(),
        "cpu": {"model": cpu_model(), "online": os.cpu_count(), "usable": len(os.sched_getaffinity(0))},
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
        "libbpf": f"{libbpf().libbpf_major_version()}.{libbpf().libbpf_minor_version()}",
        "libc": " ".join(platform.libc_ver()),
        "packages": {name: version(name) for name in DISTRIBUTIONS},
        "settings": {
            name: _sysctl(name) for name in ("net.core.bpf_jit_enable", "kernel.unprivileged_bpf_disabled")
        },
        "pointer_bits": 8 * ctypes.sizeof(ctypes.c_void_p),
    }


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"


def cpu_model() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return "unknown"
