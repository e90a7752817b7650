# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is wrong with a forwarder's frames, in sentences: the fault that no counter shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labs.harness.receiver import ReceivedReport
from labs.harness.sink_report import SinkReport


def frame_reasons(report: Mapping[str, Any], received: ReceivedReport | SinkReport | None) -> list[str]:
    """Why a run fails by its frames; empty if each had one owner and none was lost.

    Args:
        report: the forwarder's final report; one without "frames" is another's, and only the receiver tells.
        received: what a receiver or a sink found, if anything should come out.
    """
    frames = report.get("frames", {})
    violations = report.get("counters", {}).get("owner_violations", 0)
    seen = []
    if violations:
        seen.append(f"the owner check found {violations} violations, the first: {frames.get('violation')}")
    if frames and not frames.get("conserved", True) and not violations:
        seen.append(f"the frames do not add up at the end: {_counts(frames)}")
    twice, damaged, never = _mixed(received)
    if twice or damaged:
        seen.append(f"{twice} datagrams came twice, {damaged} damaged, {never} never")
    if violations or frames.get("duplicates") or (twice and never):
        return ["a frame had two owners: " + "; ".join(seen)]
    if frames and not frames.get("conserved", True):
        return [f"the forwarder lost frames: {_counts(frames)}"]
    return []


def _mixed(received: ReceivedReport | SinkReport | None) -> tuple[int, int, int]:
    """How many came twice, how many damaged, and how many never."""
    if received is None:
        return 0, 0, 0
    if isinstance(received, SinkReport):
        return received.total.duplicates, received.total.corrupt, received.lost_frames
    return received.duplicates, received.corrupt, received.lost


def _counts(frames: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in frames.items() if isinstance(count, int) and count)
