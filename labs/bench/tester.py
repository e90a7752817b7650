# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make bench-tester`: how fast the tester is, as ratios within one run, and how well it keeps a rate.

One core, one veth hop, generator and receiver together on it. Each figure is the median of rounds in which
all takers of the comparison have their turn one after the other, so that a slow moment hits all of them. All
run before ordinary threads (SCHED_FIFO), so that other load on the machine is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labs.harness.cli import guarded
from labs.harness.ethtool import Ethtool
from labs.harness.sink import Sink, SinkSpec
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import TrafficPlan, send
from labs.harness.traffic.units import short
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.run import LIVE_FRAMES, run

if TYPE_CHECKING:
    from scapy.packet import Packet

FRAMES = 1_000_000
SCAPY_FRAMES = 500
WARM_UP_S, WINDOW_S = 0.5, 0.5
RATES = (10_000, 100_000, 500_000)
RATE_SECONDS = 2.0
BATCH = 64
TRAFGEN_COMMAND = ("trafgen", "--dev", "gen0", "--cpus", "1", "--no-cpu-stats")
TCPREPLAY_COMMAND = ("tcpreplay", "--preload-pcap", "--topspeed", "--loop=0", "-i", "gen0")

STAMPED = "stamped and verified, 60 B"
EACH = "the same, each frame timed"
BIG = "stamped and verified, 1,514 B"
FIXED = "fixed frame, bpf_redirect, dropping sink"
SCAPY = "scapy L2socket.send loop"
TRAFGEN = "trafgen"
TCPREPLAY = "tcpreplay --preload-pcap --topspeed"
GOALS = {FIXED: 0.7, SCAPY: 1000.0, TRAFGEN: 8.0, TCPREPLAY: 8.0}
RATE_GOAL = 0.005


@dataclass(frozen=True)
class Ratio:
    """The tester against another: frames a second of both (medians), their ratio (median of the rounds')."""

    other: str
    tester_pps: float
    other_pps: float
    ratio: float
    goal: float

    @property
    def reached(self) -> bool:
        """Is the goal reached?"""
        return self.ratio >= self.goal


@dataclass(frozen=True)
class RateError:
    """How far an asked rate was missed, as a share of it."""

    asked_pps: int
    achieved_pps: float
    error: float

    @property
    def reached(self) -> bool:
        """Is the goal reached?"""
        return abs(self.error) <= RATE_GOAL


class Bench:
    """The comparison's network and takers."""

    def __init__(self, topology: Topology, cpu: int, folder: Path) -> None:
        self._topology, self._cpu, self._folder = topology, cpu, folder
        self._gen, self._dut = topology["gen"], topology["dut"]
        self._frame = _frame(60)

    def takers(self) -> dict[str, Callable[[], float]]:
        """Name → one measurement in frames a second; only of tools that are installed."""
        found: dict[str, Callable[[], float]] = {
            STAMPED: lambda: self._tester(self._frame, FRAMES),
            EACH: lambda: self._tester(self._frame, FRAMES, 1),
            BIG: lambda: self._tester(_frame(1514), FRAMES // 2),
            FIXED: self._fixed,
            SCAPY: self._scapy,
        }
        if shutil.which("trafgen"):
            found[TRAFGEN] = self._trafgen
        if shutil.which("tcpreplay"):
            found[TCPREPLAY] = self._tcpreplay
        return found

    def _tester(self, frame: bytes, count: int, time_every: int | None = None) -> float:
        plan = TrafficPlan(frame, count=count, stamp=True, time_every=time_every)
        with Sink(self._dut, "dut0", SinkSpec.of(plan)) as sink:
            report = send(plan, self._gen, "gen0", cpu=self._cpu, urgent=True)
            sink.wait(count)
            found = sink.report()
        if not found.perfect:
            raise SystemExit(f"xdplab: the benchmark's frames did not all arrive: {found.to_dict()}")
        return report.rate_pps

    def _fixed(self) -> float:
        spec = ProgramSpec("emit", rodata={"ifindex": self._gen.interface_index("gen0")})
        with Program.load(spec) as emit, Program.load(ProgramSpec("xdp_drop")) as drop:
            with self._dut.entered():
                drop.attach("dut0", "native")
            with self._gen.entered(), _on(self._cpu):
                # The kernel's own figure leaves out the tear-down, and the time in which it is not let run.
                result = run(emit.fd, self._frame, repeat=FRAMES, flags=LIVE_FRAMES, batch_size=BATCH)
        return 1e9 / result.duration_ns

    def _scapy(self) -> float:
        from scapy.all import conf

        packet = _packet(60)  # layers, as people write them: scapy builds them anew for each frame
        with Program.load(ProgramSpec("xdp_drop")) as drop:
            with self._dut.entered():
                drop.attach("dut0", "native")
            with self._gen.entered(), _on(self._cpu):
                out = conf.L2socket(iface="gen0")
                try:
                    began = time.monotonic()
                    for _ in range(SCAPY_FRAMES):
                        out.send(packet)
                    return SCAPY_FRAMES / (time.monotonic() - began)
                finally:
                    out.close()

    def _trafgen(self) -> float:
        config = self._folder / "frame.cfg"
        config.write_text("{ " + ", ".join(f"0x{byte:02x}" for byte in self._frame) + " }\n")
        return self._command([*TRAFGEN_COMMAND, "--conf", str(config)])

    def _tcpreplay(self) -> float:
        from scapy.all import Ether, wrpcap

        path = self._folder / "frames.pcap"
        if not path.exists():
            wrpcap(str(path), [Ether(self._frame)] * 1000)
        return self._command([*TCPREPLAY_COMMAND, str(path)])

    def _command(self, argv: list[str]) -> float:
        """Frames a second that arrive while a command sends."""
        said = self._folder / "said"
        with (
            Program.load(ProgramSpec("xdp_drop")) as drop,
            Ethtool(self._dut) as ethtool,
            said.open("wb") as output,
        ):
            with self._dut.entered():
                drop.attach("dut0", "native")
            with self._gen.entered():
                child = subprocess.Popen(
                    ["taskset", "-c", str(self._cpu), "chrt", "--fifo", "1", *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # trafgen has children of its own, which must end with it
                )
            try:
                time.sleep(WARM_UP_S)  # a window of a measurement, nothing is waited for
                before, began = ethtool.statistics("dut0")["rx_queue_0_xdp_drops"], time.monotonic()
                time.sleep(WINDOW_S)
                after, ended = ethtool.statistics("dut0")["rx_queue_0_xdp_drops"], time.monotonic()
            finally:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if after == before:
            raise SystemExit(f"xdplab: {argv[0]} sent nothing: {said.read_text(errors='replace')[-300:]}")
        return (after - before) / (ended - began)

    def rates(self, rounds: int) -> list[RateError]:
        """Each of `RATES` for two seconds: the median of the rounds."""
        found = [self._rates() for _ in range(rounds)]
        return [
            sorted(of_one, key=lambda one: abs(one.error))[rounds // 2] for of_one in zip(*found, strict=True)
        ]

    def _rates(self) -> list[RateError]:
        found = []
        for rate in RATES:
            plan = TrafficPlan(self._frame, count=int(rate * RATE_SECONDS), rate_pps=rate, stamp=True)
            with Sink(self._dut, "dut0", SinkSpec.of(plan)):
                report = send(plan, self._gen, "gen0", cpu=self._cpu, urgent=True)
            found.append(RateError(rate, report.rate_pps, report.rate_error or 0.0))
        return found


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; exit code 1 with --check if a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench-tester", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    # The first, since trafgen puts itself there whatever it is told.
    parser.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a goal is missed")
    options = parser.parse_args(argv)
    with Topology.build(PAIR) as topology, tempfile.TemporaryDirectory() as folder:
        bench = Bench(topology, options.cpu, Path(folder))
        rounds = [{name: take() for name, take in bench.takers().items()} for _ in range(options.rounds)]
        rates = bench.rates(min(3, options.rounds))
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = [
        Ratio(
            other,
            medians[STAMPED],
            medians[other],
            statistics.median(one[STAMPED] / one[other] for one in rounds),
            goal,
        )
        for other, goal in GOALS.items()
        if other in medians
    ]
    missing = sorted(set(GOALS) - set(medians))
    if options.json:
        print(
            json.dumps(
                {
                    "medians_pps": medians,
                    "ratios": [asdict(one) for one in ratios],
                    "rates": [asdict(one) for one in rates],
                    "not_installed": missing,
                },
                indent=2,
            )
        )
    else:
        print_lines(medians, ratios, rates, missing)
    reached = all(one.reached for one in ratios) and all(one.reached for one in rates)
    return 0 if reached or not options.check else 1


def print_lines(
    medians: dict[str, float], ratios: list[Ratio], rates: list[RateError], missing: list[str]
) -> None:
    """For people."""
    width = max(map(len, medians))
    for name, pps in medians.items():
        print(f"{name:{width}}  {short(pps)}pps")
    print()
    for one in ratios:
        print(f"{'ok  ' if one.reached else 'MISS'} {one.ratio:9.2f} x {one.other} (goal {one.goal:g} x)")
    for rate in rates:
        ok = "ok  " if rate.reached else "MISS"
        asked = f"asked {rate.asked_pps:,} pps for {RATE_SECONDS:g} s"
        print(f"{ok} {asked}: {rate.error:+.4%} (goal {RATE_GOAL:.1%})")
    for name in missing:
        print(f"not compared, as it is not installed: {name}", file=sys.stderr)


class _on:  # noqa: N801 (reads as a word: with _on(cpu))
    """The calling thread on one CPU for a while, before all ordinary ones."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu

    def __enter__(self) -> None:
        self._before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self._cpu})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def __exit__(self, *_: object) -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, self._before)


def _packet(size: int) -> Packet:
    from scapy.all import IP, UDP, Ether, Raw

    gen, dut = PAIR.end("gen0"), PAIR.end("dut0")
    packet = Ether(src=gen.mac, dst=dut.mac) / IP(src=gen.ip, dst=dut.ip) / UDP(sport=1000, dport=4242)
    return packet / Raw(bytes(size - len(packet)))


def _frame(size: int) -> bytes:
    return bytes(_packet(size))


if __name__ == "__main__":
    sys.exit(guarded(main))
