# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Round-trip times of ICMP echo between two addresses of a lab, by the system's own ping."""

from __future__ import annotations

import dataclasses
import re
import shutil

from labs.harness.netns import NetNs
from labs.harness.process import Process
from xdp.pyxdp.errors import InputError

_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_TIMES = re.compile(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms")


@dataclasses.dataclass(frozen=True)
class PingReport:
    """Echoes sent and answered; times in microseconds, None where nothing was answered."""

    sent: int
    received: int
    min_us: float | None
    mean_us: float | None
    max_us: float | None
    deviation_us: float | None

    def __str__(self) -> str:
        if self.mean_us is None:
            return f"{self.received} of {self.sent} answered"
        return (
            f"{self.received} of {self.sent} answered, "
            f"{self.min_us:.0f}/{self.mean_us:.0f}/{self.max_us:.0f} µs min/mean/max"
        )


def ping(
    namespace: NetNs,
    address: str,
    *,
    run: str,
    count: int = 20,
    interval_s: float = 0.005,
    timeout_s: float = 1.0,
) -> PingReport:
    """Sends `count` echo requests from the namespace and waits at most `timeout_s` for the last answer.

    Raises:
        InputError: ping is not installed, or does not understand the address.
    """
    if shutil.which("ping") is None:
        raise InputError("command 'ping' not found: install iputils-ping")
    command = ["ping", "-n", "-q", "-c", str(count), "-i", str(interval_s), "-W", str(timeout_s), address]
    with Process(command, run=run, namespace=namespace) as process:
        process.wait(count * interval_s + count * timeout_s + 5)
        output, said = process.stdout, process.stderr
    counts = _COUNTS.search(output)
    if counts is None:
        raise InputError(f"ping {address}: {said.strip() or output.strip() or 'no answer from ping itself'}")
    times = _TIMES.search(output)
    micros = [1000 * float(value) for value in times.groups()] if times else [None] * 4
    return PingReport(int(counts[1]), int(counts[2]), *micros)
