# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The forwarder as a child: any program that speaks the protocol can stand in its place."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.process import NotReadyError

STAND_IN = """
import json, os, signal, socket, sys
def fd(name): return int(sys.argv[sys.argv.index(name) + 1])
def say(name, value): os.write(fd(name), (json.dumps(value) + "\\n").encode())
def end(*_):
    say("--report-fd", {"counters": {"rx_packets": 5}})
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
if "--refuse" in sys.argv:
    say("--ready-fd", {"error": "xskmap: descriptor is no map"})
    sys.exit(2)
os.write(fd("--counters-fd"), b"5")
os.fstat(fd("--xskmap-fd"))
say("--ready-fd", {"ready": True, "sockets": [{"interface": socket.if_nameindex()[0][1], "queue": 0}]})
signal.pause()
"""


class Spec:
    def __init__(self, *argv: str) -> None:
        self.argv = argv

    def to_argv(self) -> tuple[str, ...]:
        return self.argv


class View:
    """Reads what the stand-in writes: one digit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self) -> dict[str, int]:
        import os

        return {"rx_packets": int(os.pread(self.fd, 1, 0))}

    def close(self) -> None: ...


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[NetNs]:
    stats = types.ModuleType("forwarder.stats")
    stats.CountersView = View  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forwarder.stats", stats)
    with NetNs("dut", "t") as namespace:
        yield namespace


def start(namespace: NetNs, *argv: str) -> ForwarderProcess:
    with Path("/dev/null").open() as some_map:
        program = (sys.executable, "-c", STAND_IN)
        return ForwarderProcess(
            Spec(*argv), namespace=namespace, run="t", xskmap_fd=some_map.fileno(), program=program
        )


@pytest.mark.system
def test_it_answers_counts_live_and_leaves_its_report(namespace: NetNs) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with start(namespace, "--interface", "dut0") as forwarder:
        assert forwarder.sockets == [{"interface": "lo", "queue": 0}]
        assert forwarder.argv[3:5] == ("--interface", "dut0")
        assert forwarder.counters() == {"rx_packets": 5}
        assert forwarder.stop() == {"counters": {"rx_packets": 5}}
        assert forwarder.counters() == {"rx_packets": 5}, "counters can be read after the end too"
    forwarder.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.system
def test_a_killed_one_leaves_no_report_but_its_counters(namespace: NetNs) -> None:
    with start(namespace) as forwarder:
        assert forwarder.kill() == -9
        assert forwarder.report() == {}
        assert forwarder.counters() == {"rx_packets": 5}


@pytest.mark.system
def test_one_that_refuses_is_quoted_and_leaves_nothing(namespace: NetNs) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotReadyError, match=r"^xskmap: descriptor is no map$"):
        start(namespace, "--refuse")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
