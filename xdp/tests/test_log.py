# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A signal that arrives while libbpf speaks is not lost."""

from __future__ import annotations

import ctypes
import signal
import sys

import pytest

from xdp.pyxdp import log


def speak() -> None:
    """What libbpf does: C calls the Python function that keeps its lines."""
    no_arguments = ctypes.create_string_buffer(64)  # an empty va_list, larger than any ABI's
    log.print_callback(0, b"warning\n", ctypes.addressof(no_arguments))


def test_a_warning_is_kept_as_a_line() -> None:
    with log.captured() as lines:
        speak()
    assert lines == ["warning"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_within_the_callback_is_raised_at_the_end(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise kind

    monkeypatch.setattr(log, "_vsnprintf", interrupted)
    hook, went_on = sys.unraisablehook, False
    with pytest.raises(kind), log.captured():  # noqa: PT012 (that the block goes on is the point)
        speak()
        went_on = True  # C goes on, as it must
    assert went_on
    assert sys.unraisablehook is hook


def test_ctrl_c_within_the_callback_ends_what_was_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_vsnprintf", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), log.captured():
        speak()
