# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The hop of the XDP program: what it said to each frame, by the best witnesses that there are.

Best is fexit (`xdp.watch_verdicts`), which sees each verdict of any program, in any mode, on any driver. A
program may count by itself, in classes that nobody else knows: then fexit is held against it. Where the
kernel refuses fexit and the program counts nothing, the driver tells; in generic mode nobody does but the
tracepoints, of what failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from labs.harness.account_counts import Route, at_least_0, make_hop, named, of, queues
from labs.harness.ledger import Causes, Hop

PASSES = "host_"  # a packet that the program passed ends in the host's stack: fate "host_<class>"
REDIRECTED = "redirected"  # the class of those that a program redirects, if it counts
VERDICT = "verdict"  # of fexit's counters; those of fates are named after `xdp.watch_verdicts.VERDICTS`
UNSEEN = "missed"  # one of them: verdicts that fexit missed
_ABORTED, _TX = "XDP_ABORTED", "XDP_TX"


def xdp_hop(counted: Mapping[str, int], route: Route, arrivals: int, redirected: int) -> Hop:
    """The hop.

    Args:
        counted: differences over a run.
        route: the devices.
        arrivals: frames that came to the program, by the driver or the link.
        redirected: frames that the program redirected, as others saw it.
    """
    program, verdicts = of(counted, "program"), seen(counted)
    fates = {PASSES + name: count for name, count in program.items()}
    if program:
        by_program = fates.pop(PASSES + REDIRECTED, 0)
        if verdicts is None:
            return make_hop("xdp", sum(program.values()), fates, by_program, "program")
        return make_hop("xdp", sum(verdicts.values()), fates, by_program, "program and fexit")
    if verdicts is not None:
        failed = _not_sent_back(counted, route)
        fates = _fates(verdicts, failed, verdicts["tx"] - failed)
        return make_hop("xdp", sum(verdicts.values()), fates, verdicts["redirect"], "fexit")
    return make_hop(
        "xdp",
        arrivals,
        _inferred(counted, route, arrivals - redirected),
        redirected,
        "driver" if route.native else "nobody",
    )


def seen(counted: Mapping[str, int]) -> dict[str, int] | None:
    """Verdict → frames, as fexit saw all of them; None where it did not."""
    verdicts = of(counted, VERDICT)
    return verdicts if verdicts and not verdicts.pop(UNSEEN) else None


def dropped_by_program(counted: Mapping[str, int], route: Route) -> int:
    """Frames that the program had dropped."""
    verdicts = seen(counted)
    if verdicts is not None:
        return verdicts["aborted"] + verdicts["drop"] + verdicts["invalid"]
    return queues(counted, route.ingress, "xdp_drops")


def sent_back_by_program(counted: Mapping[str, int], route: Route) -> int:
    """Frames that the program sent back (XDP_TX), and that left."""
    verdicts = seen(counted)
    if verdicts is not None:
        return at_least_0(verdicts["tx"] - _not_sent_back(counted, route))
    return queues(counted, route.ingress, "xdp_tx")


def other_verdicts(counted: Mapping[str, int], program: Hop) -> list[Causes]:
    """Of a program that counts: what fexit saw of its classes, if not all of them were passed."""
    verdicts = seen(counted)
    if verdicts is None or not of(counted, "program"):
        return []
    said = {f"XDP_{name.upper()}": count for name, count in verdicts.items() if count and name != "redirect"}
    paths = tuple(f"{program.name}/{fate.name}" for fate in program.fates if fate.count)
    return [Causes(paths, said, exact=False, witness="fexit")] if paths and set(said) - {"XDP_PASS"} else []


def _fates(verdicts: Mapping[str, int], failed: int, back: int) -> dict[str, int]:
    return {
        "aborted": verdicts["aborted"],
        "dropped": verdicts["drop"],
        "no_verdict": verdicts["invalid"],
        "sent_back": at_least_0(back),
        "not_sent_back": failed,
        PASSES + "passed": verdicts["pass"],
    }


def _not_sent_back(counted: Mapping[str, int], route: Route) -> int:
    """Frames with the verdict XDP_TX that did not leave."""
    errors = queues(counted, route.ingress, "xdp_tx_errors")
    return errors + named(counted, route.ingress, "exception").get(_TX, 0)


def _inferred(counted: Mapping[str, int], route: Route, others: int) -> dict[str, int]:
    """Of a program that does not count, without fexit: what neither driver nor tracepoint tells was passed.

    In generic mode nobody counts drops: then passed is passed, dropped or sent back.
    """
    exceptions = named(counted, route.ingress, "exception")
    aborted = exceptions.pop(_ABORTED, 0)
    invalid = sum(count for name, count in exceptions.items() if name != _TX)
    # The driver's drops are those, too.
    drops = at_least_0(queues(counted, route.ingress, "xdp_drops") - aborted - invalid)
    verdicts = {"aborted": aborted, "drop": drops, "invalid": invalid, "pass": 0}
    found = _fates(verdicts, _not_sent_back(counted, route), queues(counted, route.ingress, "xdp_tx"))
    return {**found, PASSES + "passed": at_least_0(others - sum(found.values()))}
