# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Attaching loaded programs to the kernel's tracepoints."""

from __future__ import annotations

from ._native import libbpf
from .errors import KernelError


def attach(prog_fd: int, name: str | None = None) -> int:
    """Runs a program at each hit of a tracepoint until the descriptor that this returns is closed.

    Args:
        prog_fd: a loaded program: "tp_btf", which knows its tracepoint, or "raw_tp".
        name: of a raw tracepoint, such as "kfree_skb"; None for "tp_btf".

    Raises:
        KernelError: refused (ENOENT: no such tracepoint; EPERM: not allowed).
    """
    fd = int(libbpf().bpf_raw_tracepoint_open(name.encode() if name else None, prog_fd))
    if fd < 0:
        raise KernelError("attach to tracepoint", name or f"program fd {prog_fd}", fd)
    return fd
