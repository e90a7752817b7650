# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench-forwarder`: the forwarder beside a minimal C loop on libxdp, as ratios within one run.

One flow of 60-byte frames. Receive and drop over one link (pair), forward between two (chain), each by
interrupts and busy-polling; then two queues on two cores beside one on one. In each round all have their turn
one after the other, so that a slow moment hits all of them; a ratio is the median of the rounds' ratios.
Beside the built-in actions the same actions as users would write them: a verdict function compiled by numba,
and array operations over a batch.

The yardstick has its turn twice: by how much its second turn differs from its first is noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from forwarder.spec import ForwarderSpec
from labs.bench.contest import Contestant, Live, Place
from labs.bench.scaling import received_pps
from labs.bench.yardstick import compile_yardstick
from labs.harness.requirements import why_not
from labs.harness.traffic.units import short
from xdp.pyxdp.errors import InputError

YARDSTICK, AGAIN = "minimal C loop", "minimal C loop, again"
OURS = "forwarder"
TRIES = 3
NOISE_MAX = 0.03  # what is further away is no noise, and a machine that is louder no place to measure
PYTHON_GOAL, SCALING_GOAL = 0.01, 1.7
NUMBA_GOAL, NUMPY_GOAL = 0.9, 0.5  # of the built-in action


@dataclass(frozen=True)
class Entry:
    """A contestant with what its rate is compared to, and how much of that it is to reach."""

    who: Contestant
    against: str
    goal: float


@dataclass(frozen=True)
class Event:
    """One comparison: a topology, a way to receive, and who takes part beside the yardstick."""

    name: str
    forwards: bool
    busy_poll: bool
    entries: tuple[Entry, ...]


FRAMES = 2048  # as the yardstick: with more the kernel copies packets before it finds the RX ring full
_DROP = ForwarderSpec("dut0", frames=FRAMES)
_FORWARD = ForwarderSpec(
    "dut0",
    frames=FRAMES,
    action="forward",
    out="dut1",
    set_src_mac="02:00:00:00:00:01",
    set_dst_mac="02:00:00:00:00:02",
)
NUMBA, NUMPY = "numba.cfunc", "NumPy, batches of 256"


def _by_users(spec: ForwarderSpec, name: str) -> tuple[Entry, ...]:
    """A built-in action as users would write it, beside the built-in one."""
    functions = "labs.bench.user_actions"
    plain = replace(spec, set_src_mac="", set_dst_mac="")
    verdict = replace(plain, action="verdict", verdict=f"{functions}:{name}")
    batch = replace(plain, action="python", python=f"{functions}:{name}_batch", batch=256)
    return (
        Entry(Contestant(NUMBA, verdict), OURS, NUMBA_GOAL),
        Entry(Contestant(NUMPY, batch), OURS, NUMPY_GOAL),
    )


# A new contestant is one entry here; its goal may be a share of the yardstick's or of another one's rate.
EVENTS = (
    Event(
        "receive and drop",
        False,
        False,
        (Entry(Contestant(OURS, _DROP), YARDSTICK, 1.0), *_by_users(_DROP, "drop")),
    ),
    Event("receive and drop, busy-polling", False, True, (Entry(Contestant(OURS, _DROP), YARDSTICK, 1.0),)),
    Event(
        "forward",
        True,
        False,
        (Entry(Contestant(OURS, _FORWARD), YARDSTICK, 1.0), *_by_users(_FORWARD, "forward")),
    ),
    Event("forward, busy-polling", True, True, (Entry(Contestant(OURS, _FORWARD), YARDSTICK, 1.0),)),
)


@dataclass(frozen=True)
class Ratio:
    """A figure beside its goal; `noise` is what the yardstick differs from itself."""

    event: str
    what: str
    value: float
    goal: float
    noise: float = 0.0
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Is the goal reached, as far as can be told here?"""
        if self.at_most:
            return self.value <= self.goal
        return self.value >= self.goal * (1 - self.noise)

    @property
    def mark(self) -> str:
        """Four letters: reached, missed, or below the goal by less than the yardstick differs from itself."""
        if not self.reached:
            return "MISS"
        return "ok  " if self.at_most or self.value >= self.goal else "even"


Turns = dict[str, list[Live]]


def contest(event: Event, place: Place, rounds: int) -> Turns:
    """Each contestant's turns, round by round."""
    takers = [Contestant(YARDSTICK), *(entry.who for entry in event.entries), Contestant(AGAIN)]
    turns: Turns = {taker.name: [] for taker in takers}
    for _ in range(rounds):
        for taker in takers:
            turns[taker.name].append(_turn(taker, place))
    return turns


def _turn(taker: Contestant, place: Place) -> Live:
    """One turn; again where the machine stood still so long that there was nothing to see."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(RuntimeError):
            return place.live(taker)
    return place.live(taker)


def ratios_of(event: Event, turns: Turns) -> list[Ratio]:
    """Each contestant beside the one that it is compared to, and what Python costs it."""
    noise = _noise([again.pps / one.pps for again, one in zip(turns[AGAIN], turns[YARDSTICK], strict=True)])
    found = []
    for entry in event.entries:
        own = turns[entry.who.name]
        value = statistics.median(
            one.pps / other.pps for one, other in zip(own, turns[entry.against], strict=True)
        )
        found.append(Ratio(event.name, f"{entry.who.name} / {entry.against}", value, entry.goal, noise))
        if entry.who.name == OURS:
            share = statistics.median(one.python_share for one in own)
            found.append(
                Ratio(event.name, "its CPU time outside the C core", share, PYTHON_GOAL, at_most=True)
            )
    return found


def _noise(ratios: list[float]) -> float:
    """The largest distance of equals in a round, as far as a machine that is fit for measuring has it."""
    return min(max(abs(ratio - 1) for ratio in ratios), NOISE_MAX)


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; exit code 1 with --check if a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench-forwarder", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--event", help="only events whose name contains this; 'scaling' for the two cores")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a goal is missed")
    options = parser.parse_args(argv)
    if why_not():
        raise InputError(why_not())
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise InputError("generator and forwarder need a core each: give this process two CPUs")
    events = [event for event in EVENTS if not options.event or options.event in event.name]
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory() as folder:
        yardstick = compile_yardstick(Path(folder))
        for event in events:
            place = Place(yardstick, cpus[0], cpus[-1], event.forwards, event.busy_poll)
            turns = contest(event, place, options.rounds)
            ratios += ratios_of(event, turns)
            results[event.name] = {name: [asdict(turn) for turn in of_one] for name, of_one in turns.items()}
            if not options.json:
                print_event(event, turns)
    if not options.event or options.event in "scaling":
        ratios.append(scaling(options.rounds))
    if options.json:
        print(json.dumps({"turns": results, "goals": [asdict(one) for one in ratios]}, indent=2))
    else:
        print()
        for one in ratios:
            sign = "<=" if one.at_most else ">="
            told = f" (noise {one.noise:.1%})" if one.noise else ""
            print(f"{one.mark} {one.value:6.3f} {sign} {one.goal:g}  {one.event}: {one.what}{told}")
    return 0 if all(one.reached for one in ratios) or not options.check else 1


def scaling(rounds: int) -> Ratio:
    """Two queues on two cores beside one queue on one, each core with a generator of its own."""
    found = []
    for _ in range(rounds):
        one = received_pps((1,))
        found.append(received_pps((0, 1)) / one)
    return Ratio("receive and drop", "two queues on two cores / one", statistics.median(found), SCALING_GOAL)


def print_event(event: Event, turns: Turns) -> None:
    """Medians, for people."""
    print(f"{event.name}: generator {short(_median(turns[YARDSTICK], 'sent_pps'))}pps")
    width = max(map(len, turns))
    for name, of_one in turns.items():
        pps, of_cpu = _median(of_one, "pps"), _median(of_one, "pps_of_cpu")
        print(f"  {name:{width}}  {short(pps)}pps, {short(of_cpu)}pps of CPU time")


def _median(turns: list[Live], field: str) -> float:
    return float(statistics.median(getattr(turn, field) for turn in turns))


if __name__ == "__main__":
    sys.exit(main())
