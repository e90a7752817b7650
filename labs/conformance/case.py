# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A case as data, what came of it, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from labs.conformance.mode import Mode

if TYPE_CHECKING:
    from labs.conformance.env import Env
    from labs.conformance.forwarding import Forwarding

Outcome = Literal["pass", "fail", "skip"]
_Env = TypeVar("_Env")
DIMENSIONS = ("need_wakeup", "busy_poll")


class SkipCase(Exception):  # noqa: N818 (no error: what is asked for is not there, and the message says what)
    """This case cannot be run here; the message is the reason."""


@dataclass(frozen=True)
class Case(Generic[_Env]):
    """One rule.

    Attributes:
        name: a few words, joined by "_".
        proves: one sentence.
        run: the function; gets an environment, raises AssertionError where the rule is broken and SkipCase
            where it cannot be tried; what it returns is kept as the result's detail.
        varies: which of need_wakeup and busy_poll make a difference to it; it is run once for each value of
            these, and with need_wakeup on and busy polling off for the others.
    """

    name: str
    proves: str
    run: Callable[[_Env], str | None]
    varies: tuple[str, ...] = DIMENSIONS

    @property
    def group(self) -> str:
        """Which cases it stands with: "traffic" for those of cases_traffic.py."""
        return self.run.__module__.rpartition("cases_")[2]

    def makes_sense_in(self, mode: Mode) -> bool:
        """Whether it is run in this mode."""
        return (mode.need_wakeup or "need_wakeup" in self.varies) and (
            not mode.busy_poll or "busy_poll" in self.varies
        )


@dataclass(frozen=True)
class Result:
    """What came of one case in one mode; `reason` says why not, `detail` what was seen on the way."""

    case: str
    mode: str
    outcome: Outcome
    reason: str
    detail: str
    duration_ns: int

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {
            "case": self.case,
            "mode": self.mode,
            "outcome": self.outcome,
            "reason": self.reason,
            "detail": self.detail,
            "duration_ns": self.duration_ns,
        }


class Register(Generic[_Env]):
    """The cases of one kind of environment, in the order in which they were written down."""

    def __init__(self) -> None:
        self.cases: dict[str, Case[_Env]] = {}

    def __call__(
        self, *, varies: tuple[str, ...] = DIMENSIONS
    ) -> Callable[[Callable[[_Env], str | None]], Callable[[_Env], str | None]]:
        """Marks a function as a case: its name is the case's, its docstring is what it proves."""

        def enter(run: Callable[[_Env], str | None]) -> Callable[[_Env], str | None]:
            name = run.__name__
            assert name not in self.cases, f"two cases are called {name}"
            proves = " ".join((run.__doc__ or "").split()).rstrip(".")
            self.cases[name] = Case(name, proves, run, varies)
            return run

        return enter


case: Register[Env] = Register()
forwarder_case: Register[Forwarding] = Register()
