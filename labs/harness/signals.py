# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Signals that end a command: they take the same way out as errors do, once, so that everything is undone."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What comes so soon after the first is impatience, and would only hinder the removal that it asks for.
IMPATIENCE_S = 1.0


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, raised in the main thread; the exit code is 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Raises KeyboardInterrupt or Terminated for a signal; one that the caller ignores stays ignored.

    Once one has come they stay handled so: nothing else is to be done by then than to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in the main thread only
        return
    last = float("-inf")

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < IMPATIENCE_S:
            return
        last = now
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        if last == float("-inf"):
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Nothing ends what is done inside; signals that came meanwhile take effect at its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
