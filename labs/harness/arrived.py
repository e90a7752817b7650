# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What came out at the end of a pipeline: seen by a UDP socket behind the stack, or by the sink before it."""

from __future__ import annotations

from dataclasses import dataclass

from labs.harness.receiver import ReceivedReport
from labs.harness.sink_report import SinkReport

RECEIVER, SINK = "receiver", "sink"  # names of the last hop
SEEN = ("received", "wrong_flow")  # fates of frames whose number came


@dataclass(frozen=True)
class Arrived:
    """What came back: frames as sent, further copies, damaged ones, dropped at the socket.

    Attributes:
        received: as sent, the first copy of each.
        duplicates, corrupt: further copies; damaged ones.
        unexpected: not stamped, or with a number that nobody expected.
        socket_full: dropped at the receiver's socket, its buffer being full.
        wrong_flow: as sent, but of a flow that does not belong here; only a sink tells.
        by: who looked, "receiver" or "sink": the name of the ledger's last hop.
        never, damaged: numbers that never came, and that came only damaged, as the sink's own list of all
            numbers has it: held against all losses. None where nobody kept one.
        expected: how many numbers are in that list.
    """

    received: int = 0
    duplicates: int = 0
    corrupt: int = 0
    unexpected: int = 0
    socket_full: int = 0
    wrong_flow: int = 0
    by: str = RECEIVER
    never: int | None = None
    damaged: int = 0
    expected: int = 0

    @classmethod
    def of(cls, report: ReceivedReport | SinkReport) -> Arrived:
        """From what a receiver or a sink found."""
        if isinstance(report, SinkReport):
            return cls._of_sink(report)
        return cls(
            received=report.unique - report.corrupt,
            duplicates=report.duplicates,
            corrupt=report.corrupt,
            unexpected=report.unexpected + report.unstamped,
            socket_full=report.kernel_drops,
        )

    @classmethod
    def _of_sink(cls, report: SinkReport) -> Arrived:
        total, known = report.total, report.expected is not None
        return cls(
            received=total.received - total.wrong_flow - total.beyond,
            duplicates=total.duplicates,
            corrupt=total.corrupt,
            unexpected=total.beyond + report.foreign,
            wrong_flow=total.wrong_flow,
            by=SINK,
            never=report.lost_frames if known else None,
            damaged=report.damaged_frames,
            expected=report.expected or 0,
        )

    def __add__(self, other: Arrived) -> Arrived:
        """What two receivers found."""
        return Arrived(
            self.received + other.received,
            self.duplicates + other.duplicates,
            self.corrupt + other.corrupt,
            self.unexpected + other.unexpected,
            self.socket_full + other.socket_full,
        )

    @property
    def total(self) -> int:
        """All that reached the socket or the sink."""
        return sum(self.fates().values())

    def fates(self) -> dict[str, int]:
        """The fates of the last hop by name."""
        common = {
            "received": self.received,
            "duplicate": self.duplicates,
            "corrupt": self.corrupt,
            "unexpected": self.unexpected,
        }
        if self.by == SINK:
            return {**common, "wrong_flow": self.wrong_flow}
        return {**common, "socket_full": self.socket_full}
