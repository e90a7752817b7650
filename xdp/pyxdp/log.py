# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What libbpf and libxdp say while they work, kept for the error message instead of printed to stderr."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

from ._native import PRINT_FN

_DEBUG = 2  # LIBBPF_DEBUG and LIBXDP_DEBUG: hundreds of lines a load, of use to nobody here
_state = threading.local()
_vsnprintf = ctypes.CDLL(None).vsnprintf
_vsnprintf.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)


def _keep(level: int, template: bytes, arguments: int) -> int:
    lines: list[str] | None = getattr(_state, "lines", None)
    if level >= _DEBUG or lines is None:
        return 0
    text = ctypes.create_string_buffer(4096)
    _vsnprintf(text, len(text), template, arguments)
    lines.append(text.value.decode(errors="replace").rstrip())
    return 0


print_callback = PRINT_FN(_keep)


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Collects the libraries' warnings of this thread, a line an entry."""
    outer = getattr(_state, "lines", None)
    lines: list[str] = []
    _state.lines = lines
    try:
        yield lines
    finally:
        _state.lines = outer
