# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""BPF_PROG_TEST_RUN: running a program once, without a device."""

from __future__ import annotations

import ctypes
import dataclasses

from ._native import TestRunOpts, libbpf
from .errors import KernelError

LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES, linux/bpf.h


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What the program returned, the packet as it left it, and nanoseconds a run on average."""

    value: int
    data: bytes
    duration_ns: int


def run(
    prog_fd: int,
    data: bytes | None = None,
    *,
    context: bytes | None = None,
    repeat: int = 1,
    flags: int = 0,
    batch_size: int = 0,
    room: int = 512,
) -> RunResult:
    """Runs a program; `room` is how many bytes the packet may grow.

    A raw tracepoint takes no data and no `repeat`; an XDP program needs at least an Ethernet header.
    `batch_size` is how many live frames are made before any leaves: at most 256; 0 is the kernel's 64.

    Raises:
        KernelError: the kernel refused (EINVAL, ENOTSUPP) or was interrupted (EINTR).
    """
    options = TestRunOpts(ctypes.sizeof(TestRunOpts), flags=flags)
    inside = ctypes.create_string_buffer(data, len(data)) if data is not None else None
    outside = ctypes.create_string_buffer(len(data) + room) if data is not None else None
    around = ctypes.create_string_buffer(context, len(context)) if context is not None else None
    if data is not None:
        options.data_in, options.data_size_in = ctypes.addressof(inside), len(data)  # type: ignore[arg-type]
        options.repeat, options.batch_size = repeat, batch_size
        if not flags & LIVE_FRAMES:  # live frames leave nothing to give back
            options.data_out, options.data_size_out = ctypes.addressof(outside), len(data) + room  # type: ignore[arg-type]
    if context is not None:
        options.ctx_in, options.ctx_size_in = ctypes.addressof(around), len(context)  # type: ignore[arg-type]
    result = libbpf().bpf_prog_test_run_opts(prog_fd, ctypes.byref(options))
    if result:
        raise KernelError("run BPF program", f"fd {prog_fd}", result)
    packet = outside.raw[: options.data_size_out] if outside is not None else b""
    return RunResult(options.retval, packet, options.duration)
