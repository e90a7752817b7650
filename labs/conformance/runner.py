# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs cases in modes, and says what came of each: the same for pytest and for the command."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from labs.conformance.bench import Bench
from labs.conformance.case import Case, Outcome, Result, SkipCase
from labs.conformance.env import Env
from labs.conformance.forwarding import Forwarding
from labs.conformance.mode import Mode
from labs.harness.process import ProcessError
from xdp.features import feature
from xdp.pyxdp.errors import InputError, KernelError

# What a broken rule may raise; all else, an interrupt above all, ends the run.
FAILURES = (KernelError, InputError, ProcessError, OSError, ValueError, LookupError)


def why_not(bench: Bench, mode: Mode) -> str:
    """Why the first DUT has not this mode, "" if it has; found by trying, once for zero-copy."""
    if mode.busy_poll and not (tried := feature("busy_poll")).available:
        return f"sockets cannot be polled here (Linux 5.11): {tried.reason}"
    if mode.kind != "zerocopy":
        return ""
    if bench.no_zero_copy is None:
        try:
            with Env(bench, Mode("zerocopy")) as env:
                env.station()
            bench.no_zero_copy = ""
        except KernelError as error:
            bench.no_zero_copy = f"{bench.site.wires[0].spec.dut} has no zero-copy: {error.strerror}"
    return bench.no_zero_copy


def run_case(bench: Bench, case: Case[Env], mode: Mode) -> Result:
    """Runs a case of sockets."""

    def run() -> str:
        reason = why_not(bench, mode)
        if reason:
            raise SkipCase(reason)
        with Env(bench, mode) as env:
            detail = case.run(env) or ""
            env.settle()
            return detail

    return _result(case.name, mode, run)


def run_forwarder_case(forwarding: Forwarding, case: Case[Forwarding]) -> Result:
    """Runs a case of forwarders; after a failure the next one gets a new process."""

    def run() -> str:
        reason = why_not(forwarding.bench, forwarding.mode)
        if reason:
            raise SkipCase(reason)
        forwarding.begin()
        detail = case.run(forwarding) or ""
        forwarding.settle()
        return detail

    result = _result(case.name, forwarding.mode, run)
    if result.outcome != "pass":
        forwarding.stop()
    return result


def run_matrix(
    bench: Bench,
    modes: Sequence[Mode],
    cases: Sequence[Case[Env]],
    forwarder_cases: Sequence[Case[Forwarding]],
    template: str | None = None,
) -> Iterator[Result]:
    """Runs all cases in all modes in which they make sense, mode by mode."""
    for mode in modes:
        for case in cases:
            if case.makes_sense_in(mode):
                yield run_case(bench, case, mode)
        sensible = [case for case in forwarder_cases if case.makes_sense_in(mode)]
        if sensible:
            with Forwarding(bench, mode, template) as forwarding:
                for one in sensible:
                    yield run_forwarder_case(forwarding, one)


def _result(name: str, mode: Mode, run: Callable[[], str]) -> Result:
    began = time.monotonic_ns()
    outcome: Outcome = "pass"
    reason = detail = ""
    try:
        detail = run()
    except SkipCase as skip:
        outcome, reason = "skip", str(skip)
    except AssertionError as error:
        outcome, reason = "fail", f"{error or 'assertion'} ({_place(error)})"
    except FAILURES as error:
        outcome, reason = "fail", f"{type(error).__name__}: {error} ({_place(error)})"
    return Result(name, mode.name, outcome, reason, detail, time.monotonic_ns() - began)


def _place(error: BaseException) -> str:
    """The innermost line of a case, or of anything: "cases_traffic.py:20"."""
    frames = traceback.extract_tb(error.__traceback__)
    of_cases = [frame for frame in frames if Path(frame.filename).name.startswith("cases_")]
    frame = (of_cases or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
