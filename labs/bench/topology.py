# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long topologies take to build and remove: `python -m labs.bench.topology [runs]`, as root."""

from __future__ import annotations

import statistics
import sys
import time

from labs.harness.topology import CHAIN, PAIR, Topology


def main(runs: int = 20) -> None:
    """Print medians and maxima in milliseconds, after one build that is not counted (it loads pyroute2)."""
    Topology.build(PAIR).close()
    print(f"{'topology':<16}{'build ms':>10}{'max':>8}{'close ms':>10}{'max':>8}   ({runs} runs)")
    for title, spec in (("pair", PAIR), ("pair, 4 queues", PAIR.with_links(queues=4)), ("chain", CHAIN)):
        builds, closes = [], []
        for _ in range(runs):
            began = time.perf_counter()
            topology = Topology.build(spec)
            built = time.perf_counter()
            topology.close()
            builds.append(1e3 * (built - began))
            closes.append(1e3 * (time.perf_counter() - built))
        print(
            f"{title:<16}{statistics.median(builds):>10.1f}{max(builds):>8.1f}"
            f"{statistics.median(closes):>10.1f}{max(closes):>8.1f}"
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
