# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The account of every frame: pure arithmetic over counts that others took.

A ledger is a chain of hops. Each hop counts what entered it, names the fates of what ended there, and counts
what it handed on. Two sums must hold: within a hop, entered = fates + onward; between hops, onward = what the
next one counted itself. Each difference is kept with its sign where it arose, and the total is the sum of the
absolute values, so that a frame lost here and a frame too many there never cancel.

Imports nothing of ours, so that it can be tested, and trusted, alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class LedgerError(AssertionError):
    """A ledger that does not balance, or losses other than expected; the message is the whole account."""


@dataclass(frozen=True)
class Fate:
    """How frames ended at a hop.

    Attributes:
        name: `<what>`, such as "ring_full" or "received".
        count: frames.
        delivered: this is where frames were meant to end; anything else is a loss.
        frame_class: the kind of frame, where kinds are told apart ("arp", "udp_4242"), or "".
    """

    name: str
    count: int
    delivered: bool = False
    frame_class: str = ""

    def __post_init__(self) -> None:
        _check_count(f"fate {self.name!r}", self.count)


@dataclass(frozen=True)
class Hop:
    """A place that frames go through.

    Attributes:
        name: `<where>`, unique in its ledger.
        entered: frames that came in, as measured here.
        fates: of the frames that ended here.
        onward: frames handed on, as measured here; 0 at the end of the chain.
        seen_by: who measured, where it is not always the same; "" where nobody asks.
    """

    name: str
    entered: int
    fates: tuple[Fate, ...] = ()
    onward: int = 0
    seen_by: str = ""

    def __post_init__(self) -> None:
        _check_count(f"entered of hop {self.name!r}", self.entered)
        _check_count(f"onward of hop {self.name!r}", self.onward)
        keys = [(fate.name, fate.frame_class) for fate in self.fates]
        if len(set(keys)) != len(keys):
            raise ValueError(f"hop {self.name!r} has a fate twice: add the counts up first")

    @property
    def ended(self) -> int:
        """Frames that ended here."""
        return sum(fate.count for fate in self.fates)

    @property
    def unaccounted(self) -> int:
        """Entered - fates - onward: positive if frames vanished inside, negative if some appeared."""
        return self.entered - self.ended - self.onward


@dataclass(frozen=True)
class Causes:
    """Why frames ended as they did, by name, as another witness counted it: held against the fates.

    Attributes:
        fates: "hop/fate" of those frames; several where the witness does not tell them apart.
        reasons: name → frames.
        exact: the reasons must add up to the fates; if false they only inform.
        missed: frames that the witness may have overlooked: it may name that many fewer.
        witness: who says so.
    """

    fates: tuple[str, ...]
    reasons: Mapping[str, int]
    exact: bool = True
    missed: int = 0
    witness: str = "the kernel"

    def __post_init__(self) -> None:
        if not self.fates:
            raise ValueError("causes need at least one fate that they explain")
        for name, count in (*self.reasons.items(), ("missed", self.missed)):
            _check_count(f"cause {name!r}", count)

    @property
    def named(self) -> int:
        """Frames that have a reason."""
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Break:
    """A sum that does not hold.

    Attributes:
        place: the hop's name, or "a -> b" between two hops, or "hop/fate" where a witness disagrees.
        missing: frames: positive if they vanished there, negative if they appeared.
        frame_class: the class whose sum breaks, or "".
        named: frames for which the witness named a reason; None where no witness was asked.
        witness: who it is.
    """

    place: str
    missing: int
    frame_class: str = ""
    named: int | None = None
    witness: str = "the kernel"

    def __str__(self) -> str:
        if self.named is not None:
            counted = self.named + self.missing
            return f"{counted} frames counted at {self.place}, {self.named} named by {self.witness}"
        frames = "1 frame" if abs(self.missing) == 1 else f"{abs(self.missing)} frames"
        of_class = f" of class {self.frame_class}" if self.frame_class else ""
        return f"{frames}{of_class} {'unaccounted for' if self.missing > 0 else 'too many'} at {self.place}"


@dataclass(frozen=True)
class Balance:
    """Whether a ledger balances; true or false, and telling when an assertion prints it."""

    breaks: tuple[Break, ...]
    table: str = field(default="", compare=False)

    def __bool__(self) -> bool:
        return not self.breaks

    def __repr__(self) -> str:
        if not self.breaks:
            return "Balance(unaccounted=0)"
        return f"Balance({'; '.join(str(item) for item in self.breaks)})\n{self.table}"


@dataclass(frozen=True)
class Ledger:
    """All hops of a run, in the order in which frames go through them.

    Attributes:
        sent: frames that the sender says it sent; the first hop should have measured as many.
        hops: at least one.
        expected: losses that are part of the test, "hop/fate" → frames.
        sent_by_class: where fates are told by class: frames sent of each. Each class must then add up too.
        causes: what another witness says of some of the fates.
    """

    sent: int
    hops: tuple[Hop, ...]
    expected: Mapping[str, int] = field(default_factory=dict)
    sent_by_class: Mapping[str, int] = field(default_factory=dict)
    causes: tuple[Causes, ...] = ()

    def __post_init__(self) -> None:
        _check_count("sent", self.sent)
        if not self.hops:
            raise ValueError("a ledger needs at least one hop")
        names = [hop.name for hop in self.hops]
        if len(set(names)) != len(names):
            raise ValueError("two hops have the same name: give each its own")
        for name, count in {**self.expected, **self.sent_by_class}.items():
            _check_count(name, count)
        paths = {f"{hop.name}/{fate.name}" for hop in self.hops for fate in hop.fates}
        for path in self.expected:
            if path not in paths:
                raise ValueError(
                    f"expected loss {path!r} is no fate of this ledger; there are {sorted(paths)}"
                )
        for path in (path for causes in self.causes for path in causes.fates):
            if path not in paths:
                raise ValueError(f"causes of {path!r}, which is no fate of this ledger")
        if self.sent_by_class and sum(self.sent_by_class.values()) != self.sent:
            raise ValueError(f"classes sent add up to {sum(self.sent_by_class.values())}, not {self.sent}")

    @property
    def breaks(self) -> tuple[Break, ...]:
        """Every sum that does not hold, in the order of the chain, then by class, then by witness."""
        found = []
        before, onward = "sent", self.sent
        for hop in self.hops:
            found.append(Break(f"{before} -> {hop.name}", onward - hop.entered))
            found.append(Break(hop.name, hop.unaccounted))
            before, onward = hop.name, hop.onward
        found.append(Break(f"{before} -> nowhere", onward))
        if self.sent_by_class:
            ended = {name: sum(fates.values()) for name, fates in self.fates_by_class().items()}
            for name in sorted({*self.sent_by_class, *ended}):
                missing = self.sent_by_class.get(name, 0) - ended.get(name, 0)
                found.append(Break("the end", missing, name or "(none)"))
        fates = self.fates()
        for causes in self.causes:
            missing = sum(fates[path] for path in causes.fates) - causes.named
            if causes.exact and not 0 <= missing <= causes.missed:
                place = " + ".join(path for path in causes.fates if fates[path]) or causes.fates[-1]
                found.append(Break(place, missing, named=causes.named, witness=causes.witness))
        return tuple(item for item in found if item.missing)

    @property
    def unaccounted(self) -> int:
        """Σ |difference| over all hops and between them; 0 if every frame has exactly one fate.

        Differences by class or with a witness are not added: they concern the same frames. See `balanced`.
        """
        return sum(abs(item.missing) for item in self.breaks if not item.frame_class and item.named is None)

    @property
    def balanced(self) -> Balance:
        """True if all sums hold; when false, its text is the breaks and the table."""
        breaks = self.breaks
        return Balance(breaks, self.table() if breaks else "")

    @property
    def delivered(self) -> int:
        """Frames that ended where they were meant to."""
        return sum(fate.count for hop in self.hops for fate in hop.fates if fate.delivered)

    @property
    def losses(self) -> dict[str, int]:
        """All other fates that happened, "hop/fate" → frames, in the order of the chain."""
        return {path: count for path, count in self._counts(delivered=False).items() if count}

    @property
    def surprises(self) -> dict[str, tuple[int, int]]:
        """Losses that are not as expected: "hop/fate" → (expected, counted)."""
        return {
            path: (self.expected.get(path, 0), count)
            for path, count in {**dict.fromkeys(self.expected, 0), **self._counts(delivered=False)}.items()
            if count != self.expected.get(path, 0)
        }

    def first_break(self) -> Break | None:
        """The first sum along the chain that does not hold, or None."""
        return next(iter(self.breaks), None)

    def fates(self) -> dict[str, int]:
        """All fates, "hop/fate" → frames, classes added up."""
        return {**self._counts(delivered=True), **self._counts(delivered=False)}

    def fates_by_class(self) -> dict[str, dict[str, int]]:
        """Class → "hop/fate" → frames."""
        result: dict[str, dict[str, int]] = {}
        for hop in self.hops:
            for fate in hop.fates:
                result.setdefault(fate.frame_class, {})[f"{hop.name}/{fate.name}"] = fate.count
        return result

    def check(self) -> None:
        """Assert that the ledger balances and that the losses are exactly those expected.

        Raises:
            LedgerError: otherwise; says where the sum breaks and shows the table.
        """
        problems = [str(item) for item in self.breaks]
        problems += [
            f"{path}: expected {expected}, counted {counted}"
            for path, (expected, counted) in self.surprises.items()
        ]
        if problems:
            raise LedgerError("; ".join(problems) + "\n" + self.table())

    def rows(self) -> list[tuple[str, str, int]]:
        """(hop, what, frames) for every line of the table; breaks are marked by "!" before what.

        What a witness named stands below the last of the fates that it explains, after ":".
        """
        named: dict[str, list[Causes]] = {}
        for causes in self.causes:
            named.setdefault(causes.fates[-1], []).append(causes)
        rows = [("", "sent", self.sent)]
        before, onward = "sent", self.sent
        for hop in self.hops:
            if onward != hop.entered:
                rows.append(("", f"! between {before} and {hop.name}", onward - hop.entered))
            seen_by = f", seen by {hop.seen_by}" if hop.seen_by else ""
            rows.append((hop.name, f"entered{seen_by}", hop.entered))
            for fate in hop.fates:
                what = f"{fate.name} [{fate.frame_class}]" if fate.frame_class else fate.name
                rows.append((hop.name, f"  {'=' if fate.delivered else '-'} {what}", fate.count))
                for causes in named.get(f"{hop.name}/{fate.name}", []):
                    rows += [(hop.name, f"      : {why}", n) for why, n in causes.reasons.items()]
            if hop.unaccounted:
                rows.append((hop.name, "! unaccounted", hop.unaccounted))
            if hop.onward or hop is not self.hops[-1]:
                rows.append((hop.name, "onward", hop.onward))
            before, onward = hop.name, hop.onward
        if onward:
            rows.append(("", f"! onward of {before} goes nowhere", onward))
        return [*rows, ("", "unaccounted", self.unaccounted)]

    def table(self) -> str:
        """The account as aligned text: "=" marks where frames were meant to end, "-" losses, "!" breaks."""
        rows = self.rows()
        where = max(len(row[0]) for row in rows)
        what = max(len(row[1]) for row in rows)
        count = max(len(str(row[2])) for row in rows)
        lines, last = [], ""
        for hop, text, number in rows:
            lines.append(f"{hop if hop != last else '':<{where}}  {text:<{what}}  {number:>{count}}")
            last = hop
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; sums are included for readers, and recomputed by `from_dict`."""
        return {
            "sent": self.sent,
            "hops": [
                {
                    "name": hop.name,
                    "entered": hop.entered,
                    "fates": [
                        {
                            "name": fate.name,
                            "count": fate.count,
                            "delivered": fate.delivered,
                            "frame_class": fate.frame_class,
                        }
                        for fate in hop.fates
                    ],
                    "onward": hop.onward,
                    "seen_by": hop.seen_by,
                    "unaccounted": hop.unaccounted,
                }
                for hop in self.hops
            ],
            "expected": dict(self.expected),
            "sent_by_class": dict(self.sent_by_class),
            "causes": [
                {
                    "fates": list(causes.fates),
                    "reasons": dict(causes.reasons),
                    "exact": causes.exact,
                    "missed": causes.missed,
                    "witness": causes.witness,
                }
                for causes in self.causes
            ],
            "delivered": self.delivered,
            "losses": self.losses,
            "unaccounted": self.unaccounted,
            "breaks": [str(item) for item in self.breaks],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ledger:
        """The inverse of `to_dict`.

        Raises:
            ValueError: the counts are no counts, or names clash.
            KeyError: a field is missing.
        """
        hops = tuple(
            Hop(
                hop["name"],
                hop["entered"],
                tuple(
                    Fate(fate["name"], fate["count"], fate["delivered"], fate["frame_class"])
                    for fate in hop["fates"]
                ),
                hop["onward"],
                hop.get("seen_by", ""),  # results of before have none
            )
            for hop in data["hops"]
        )
        causes = tuple(
            Causes(
                tuple(one["fates"]),
                dict(one["reasons"]),
                one["exact"],
                one["missed"],
                one.get("witness", "the kernel"),  # results of before have none
            )
            for one in data.get("causes", ())  # nor these
        )
        return cls(data["sent"], hops, dict(data["expected"]), dict(data["sent_by_class"]), causes)

    def _counts(self, *, delivered: bool) -> dict[str, int]:
        counts: dict[str, int] = {}
        for hop in self.hops:
            for fate in hop.fates:
                if fate.delivered == delivered:
                    path = f"{hop.name}/{fate.name}"
                    counts[path] = counts.get(path, 0) + fate.count
        return counts


def lost(counts: Mapping[str, int]) -> tuple[Fate, ...]:
    """Fates that are losses, from a mapping of names to counts."""
    return tuple(Fate(name, count) for name, count in counts.items())


def delivered(name: str, count: int) -> tuple[Fate, ...]:
    """The one fate of frames that arrived."""
    return (Fate(name, count, delivered=True),)


def _check_count(what: str, count: object) -> None:
    # bool is an int in Python, and a comparison given by mistake should not count as one frame
    if isinstance(count, bool) or not isinstance(count, int):
        raise ValueError(f"{what} is {count!r}, not a number of frames")
    if count < 0:
        raise ValueError(f"{what} is {count}: a count cannot be negative; take the difference the other way")
