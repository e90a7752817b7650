# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a sink looks for, as data: one spec for the sink in the kernel and the one in user space."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from labs.harness.traffic.plan import TrafficPlan
from labs.harness.traffic.stamp import DEFAULT_MAGIC, MAX_FLOWS
from xdp.pyxdp.errors import InputError

Action = Literal["drop", "pass", "return"]

DEFAULT_SEQUENCES = 1 << 26  # two bitmaps of 8 MiB
MAX_SEQUENCES = 1 << 32
MAX_STREAM_FLOWS = 4096  # a flow of its own takes 12 KiB: a third for its gaps, the rest for its latencies


@dataclass(frozen=True)
class SinkSpec:
    """What a sink looks for.

    Attributes:
        expected: how many frames will come; None: not known, numbers up to `sequences` are checked.
        first: sequence number of the first.
        sequences: room for numbers, from 0, if more than first + expected may come.
        flows: flows that belong here, from `first_flow` on; None: all.
        first_flow: see `flows`.
        per_flow: one stream a flow, with its own order, counts and latencies; else one a receive queue.
        action: what becomes of a checked frame: "drop", "pass" to the stack, "return" with its MACs swapped.
        magic: that of the plan.
    """

    expected: int | None = None
    first: int = 0
    sequences: int | None = None
    flows: int | None = None
    first_flow: int = 0
    per_flow: bool = False
    action: Action = "drop"
    magic: int = DEFAULT_MAGIC

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise InputError(f"unknown action {self.action!r}; there are {', '.join(get_args(Action))}")
        if self.expected is not None and self.expected < 0:
            raise InputError(f"{self.expected} expected frames: use 0 or more")
        if not 0 < self.room <= MAX_SEQUENCES:
            raise InputError(f"room for {self.room} sequence numbers: use 1 to {MAX_SEQUENCES}")
        if self.flows is not None and not 1 <= self.flows <= MAX_FLOWS - self.first_flow:
            raise InputError(f"{self.flows} flows from {self.first_flow} on: they end at {MAX_FLOWS - 1}")
        if self.per_flow and not 1 <= self.flow_streams <= MAX_STREAM_FLOWS:
            raise InputError(
                f"per flow at most {MAX_STREAM_FLOWS} flows are looked at: say how many there are"
            )
        if not 0 <= self.magic < 1 << 16:
            raise InputError(f"magic {self.magic}: use 16 bits")

    @classmethod
    def of(cls, plan: TrafficPlan, **changes: Any) -> SinkSpec:
        """The sink that expects exactly a plan's frames."""
        spec = cls(expected=plan.limit, first=plan.first, flows=plan.flow_count, magic=plan.magic)
        return dataclasses.replace(spec, **changes)

    @property
    def room(self) -> int:
        """Sequence numbers that the bitmaps hold."""
        if self.sequences is not None:
            return self.sequences
        return DEFAULT_SEQUENCES if self.expected is None else max(1, self.first + self.expected)

    @property
    def flow_streams(self) -> int:
        """Streams if there is one a flow."""
        return self.first_flow + self.flows if self.flows is not None else MAX_FLOWS
