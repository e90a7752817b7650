# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs one case in one mode, and says what came of it: the same for pytest and for the command."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from labs.conformance.bench import Bench, Env
from labs.conformance.case import Case, Outcome, Result, SkipCase
from labs.conformance.mode import Mode
from xdp.pyxdp.errors import InputError, KernelError


def run_case(bench: Bench, case: Case[Env], mode: Mode) -> Result:
    """Runs a socket-level case; only what ends the whole command (an interrupt) goes up from here."""
    began = time.monotonic_ns()
    outcome: Outcome = "pass"
    reason = detail = ""
    try:
        reason = bench.why_not(mode)
        if reason:
            outcome = "skip"
        else:
            with Env(bench, mode) as env:
                detail = case.run(env) or ""
                env.settle()
    except SkipCase as skip:
        outcome, reason = "skip", str(skip)
    except AssertionError as error:
        outcome, reason = "fail", f"{error or 'assertion'} ({_place(error)})"
    except (KernelError, InputError, OSError, ValueError, LookupError) as error:
        outcome, reason = "fail", f"{type(error).__name__}: {error} ({_place(error)})"
    return Result(case.name, mode.name, outcome, reason, detail, time.monotonic_ns() - began)


def _place(error: BaseException) -> str:
    """The innermost line of ours: "cases_traffic.py:20"."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "cases" in frame.filename]
    frames = frames or traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
