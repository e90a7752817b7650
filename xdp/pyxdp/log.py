# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What libbpf and libxdp say while they work, kept for the error message instead of printed to stderr."""

from __future__ import annotations

import contextlib
import ctypes
import sys
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
    """Collects the libraries' warnings of this thread, a line an entry.

    A KeyboardInterrupt or SystemExit that a signal's handler raised while a library spoke is raised at the
    end: no exception passes through C, so Python would print it and go on, and Ctrl-C would do nothing.
    """
    outer = getattr(_state, "lines", None)
    lines: list[str] = []
    interrupts: list[BaseException] = []
    _state.lines = lines
    try:
        with _unraisable_kept(interrupts):
            yield lines
    finally:
        _state.lines = outer
        if interrupts:
            raise interrupts[0]


@contextlib.contextmanager
def _unraisable_kept(interrupts: list[BaseException]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers of signals run in the main thread only
        return
    hook = sys.unraisablehook

    def keep(unraisable: sys.UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if error is None or isinstance(error, Exception):
            hook(unraisable)
        else:
            interrupts.append(error)

    sys.unraisablehook = keep
    try:
        yield
    finally:
        sys.unraisablehook = hook
