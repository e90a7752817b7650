# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab xskmap` as people and programs call it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from labs.xskmap.station import Station
from xdp.cli_xskmap import main
from xdp.pyxdp import kernel, maps

pytestmark = pytest.mark.system


@contextlib.contextmanager
def command(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own."""
    argv = [sys.executable, "-m", "xdp.cli_xskmap", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str], seconds: float = 10.0) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    assert readable, f"no output within {seconds:g} s"
    return process.stdout.readline()


def test_json_tells_the_socket_and_its_owner(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    own = station.open_socket()
    station.put(2, own.fd)
    own.fill(9)
    assert main(["--id", str(station.map_id), "--json"]) == 0
    (xskmap,) = json.loads(capsys.readouterr().out)["maps"]
    assert (xskmap["id"], xskmap["occupied"], len(xskmap["slots"])) == (station.map_id, 1, 64)
    assert [slot["index"] for slot in xskmap["slots"] if slot["occupied"]] == [2]
    found = xskmap["slots"][2]["socket"]
    assert (found["inode"], found["owners"][0]["pid"], found["device"]) == (own.inode, os.getpid(), "dut0")
    assert found["fill"] == {
        "size": 128,
        "producer": 9,
        "consumer": 0,
        "unpublished": 0,
        "need_wakeup": False,
        "level": 9,
    }


def test_the_table_shows_slot_device_owner_and_levels(
    station: Station, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    own = station.open_socket()
    station.put(2, own.fd)
    own.fill(9)
    assert main(["--prog", str(station.program.id)]) == 0
    shown = capsys.readouterr().out
    for part in (
        f"XSKMAP {station.map_id} xsks_map: 1 of 64",
        "dut0 queue 0, copy, bound",
        "9/128",
        "0-1",
        "3-63",
    ):
        assert part in shown
    for part in (f"socket:[{own.inode}]", f"pid {os.getpid()}", f"{station.program.id} redirect_queue"):
        assert part in shown
    assert main(["--id", str(station.map_id), "--slots", "occupied"]) == 0
    assert "empty" not in capsys.readouterr().out


def test_all_is_the_default_and_shows_every_map(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--slots", "occupied"]) == 0
    listed = {xskmap["id"]: xskmap["slots"] for xskmap in json.loads(capsys.readouterr().out)["maps"]}
    assert listed[station.map_id] == []


def test_the_probe_says_that_only_occupancy_is_known(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    station.put(2, station.open_socket().fd)
    assert main(["--id", str(station.map_id), "--method", "probe"]) == 0
    shown = capsys.readouterr().out
    assert "only occupancy is known" in shown
    assert "dut0" not in shown


def test_a_map_of_another_type_is_one_line_and_exit_code_2(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--id", str(station.program.maps["counters"].id)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("xdplab: map ")
    assert "(counters) is of type PERCPU_ARRAY, no XSKMAP; " in err
    assert err.count("\n") == 1


def test_a_watch_follows_the_slots_and_ends_with_ctrl_c_and_exit_code_0(station: Station) -> None:
    own = station.open_socket()
    with command("--id", str(station.map_id), "--watch", "0.05", "--json") as process:
        assert json.loads(line(process))["maps"][0]["occupied"] == 0
        station.put(0, own.fd)
        deadline = time.monotonic() + 10
        while (seen := json.loads(line(process))["maps"][0]["occupied"]) != 1:
            assert time.monotonic() < deadline, f"the watch still shows {seen} occupied slots"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_watch_keeps_no_map_alive_and_ends_when_the_map_is_gone() -> None:
    fd = maps.create(kernel.MapType.XSKMAP, "watched", 4, 4, 8)
    number = kernel.map_info(fd).id
    with command("--id", str(number), "--watch", "0.05", "--json") as process:
        try:
            line(process)
        finally:
            os.close(fd)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert f"no BPF map with id {number}" in process.stderr.read()
    assert number not in kernel.map_ids()


def test_a_reader_that_goes_away_is_no_error(station: Station) -> None:
    with command("--id", str(station.map_id), "--watch", "0.05", "--json") as process:
        line(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
