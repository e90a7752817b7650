# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is wrong with a forwarder's frames, in sentences: the fault that no counter shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labs.harness.receiver import ReceivedReport


def frame_reasons(report: Mapping[str, Any], received: ReceivedReport | None) -> list[str]:
    """Why a run fails by its frames; empty if each had one owner and none was lost.

    Args:
        report: the forwarder's final report; one without "frames" is another's, and only the receiver tells.
        received: what came back, if anything should.
    """
    frames = report.get("frames", {})
    violations = report.get("counters", {}).get("owner_violations", 0)
    seen = []
    if violations:
        seen.append(f"the owner check found {violations} violations, the first: {frames.get('violation')}")
    if frames and not frames.get("conserved", True) and not violations:
        seen.append(f"the frames do not add up at the end: {_counts(frames)}")
    mixed = received is not None and (received.duplicates or received.corrupt)
    if received is not None and mixed:
        seen.append(
            f"{received.duplicates} datagrams came twice, {received.corrupt} damaged, {received.lost} never"
        )
    if (
        violations
        or frames.get("duplicates")
        or (received is not None and received.duplicates and received.lost)
    ):
        return ["a frame had two owners: " + "; ".join(seen)]
    if frames and not frames.get("conserved", True):
        return [f"the forwarder lost frames: {_counts(frames)}"]
    return []


def _counts(frames: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in frames.items() if isinstance(count, int) and count)
