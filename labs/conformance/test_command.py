# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab conformance` as people and programs call it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import Draft202012Validator

from labs.conformance.mode import MODES
from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
from labs.harness.cli import main
from labs.harness.topology import PAIR, Topology
from labs.pipeline.command import comes_true, finished, started

pytestmark = pytest.mark.system

Conformance = Callable[..., tuple[int, dict[str, Any]]]
NO_ZERO_COPY = "dut0 has no zero-copy"


@pytest.fixture
def conformance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Conformance:
    """Calls the command with --json; gives exit code and conformance.json."""
    monkeypatch.setenv("XDPLAB_RESULTS", str(tmp_path / "results"))

    def call(*options: str) -> tuple[int, dict[str, Any]]:
        code = main(["conformance", "--json", *options])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def pair() -> Iterator[dict[str, str]]:
    """A veth pair as somebody may have it: the options that name its ends."""
    with Topology.build(PAIR) as topology:
        where = {role: f"/proc/{os.getpid()}/fd/{topology[role].fd}" for role in ("dut", "gen")}
        yield {"--dev": "dut0", "--netns": where["dut"], "--peer": "gen0", "--peer-netns": where["gen"]}


def test_all_cases_in_all_modes(tmp_path: Path) -> None:
    command = finished("conformance", "--json", results=tmp_path, timeout_s=150)
    assert command.process.returncode == 0, command.err
    data = json.loads(command.out)
    schema = json.loads((files("labs.conformance") / "conformance.schema.json").read_text())
    Draft202012Validator(schema).validate(data)
    assert data["verdict"] == "pass"
    assert [one["name"] for one in data["modes"]] == [mode.name for mode in MODES]
    assert {one["name"] for one in data["cases"]} == {*SOCKET_CASES, *FORWARDER_CASES}
    skipped = {(one["case"], one["reason"][: len(NO_ZERO_COPY)]) for one in data["results"] if one["reason"]}
    assert {case for case, reason in skipped if reason != NO_ZERO_COPY} == {"jumbo_tail_grown"}
    assert command.left() == []
    (folder,) = (entry for entry in tmp_path.iterdir() if not entry.is_symlink())
    assert json.loads((folder / "conformance.json").read_text()) == data
    assert "✓" in (folder / "conformance.txt").read_text()


def test_only_what_is_asked_for_is_run(conformance: Conformance) -> None:
    code, data = conformance("--case", "poll_rx", "--case", "single*", "--mode", "generic*busy")
    assert code == 0
    assert {one["case"] for one in data["results"]} == {"poll_rx", "single_packet"}
    assert {one["mode"] for one in data["results"]} == {"generic+wakeup+busy", "generic+busy"}


def test_a_run_of_skips_only_is_no_pass(conformance: Conformance) -> None:
    code, data = conformance("--case", "receive", "--mode", "zerocopy*")
    assert (code, data["verdict"]) == (1, "fail")


def test_the_list_says_what_each_case_proves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list"]) == 0
    text = capsys.readouterr().out
    for name, case in SOCKET_CASES.items():
        assert f"{case.proves}\n" in text, name


def test_on_a_pair_of_devices_that_is_there(pair: dict[str, str], conformance: Conformance) -> None:
    options = [text for option in pair.items() for text in option]
    code, data = conformance(*options, "--mode", "native+wakeup", "--case", "[!r]*")
    assert code == 0, [one for one in data["results"] if one["outcome"] == "fail"]
    assert data["site"] == {"own": False, "wires": [{"dut": "dut0", "peer": "gen0", "queues": 1}]}
    skipped = {one["case"] for one in data["results"] if one["outcome"] == "skip"}
    assert skipped == {"shared_two_queues", "shared_two_devices", "side_by_side", "jumbo_tail_grown"}


def test_against_a_forwarder_of_somebody_elses(echo_command: Path, conformance: Conformance) -> None:
    code, data = conformance("--forwarder", f"{echo_command} {{dev}} {{queue}} {{map}}", "--mode", "[ng]*")
    assert code == 0, [one for one in data["results"] if one["outcome"] == "fail"]
    assert [one["case"] for one in data["results"]] == 2 * list(FORWARDER_CASES)
    assert data["forwarder"].startswith(str(echo_command))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dev", "dut0"], "--dev and --peer belong together"),
        (["--netns", "x"], "say where --dev and --peer are"),
        (["--case", "nothing"], "no case is called 'nothing'; there are receive, "),
        (["--mode", "fast"], "no mode is called 'fast'; there are native+wakeup, "),
        (["--forwarder", "true {dev}"], "the command has no {map}"),
        (["--forwarder", "/no/such {dev} {map}"], "command '/no/such' not found"),
        (["--forwarder", "'x {dev} {map}"], "No closing quotation"),
        (["--case", "receive", "--forwarder", "true {dev} {map}"], "no case is called 'receive'"),
        (["--dev", "nil0", "--peer", "nil1"], "no interface 'nil0'"),
        (["--dev", "lo", "--peer", "lo"], "the same device"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["conformance", "--results", str(tmp_path / "results"), *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_two_devices_that_do_not_hear_each_other_are_told(
    pair: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labs.conformance.given.REACH_S", 0.3)
    with Topology.build(PAIR) as other:
        elsewhere = {**pair, "--peer-netns": f"/proc/{os.getpid()}/fd/{other['gen'].fd}"}
        options = [text for option in elsewhere.items() for text in option]
        assert main(["conformance", "--results", str(tmp_path / "results"), *options]) == 2
    assert "nothing that gen0 sends comes to dut0" in capsys.readouterr().err


def test_a_forwarder_that_never_comes_fails_and_says_why(conformance: Conformance) -> None:
    code, data = conformance(
        "--forwarder", "sh -c 'echo no such device >&2; exit 3' {dev} {map}", "--case", "forward_single",
        "--mode", "native+wakeup",
    )  # fmt: skip
    assert code == 1
    (result,) = data["results"]
    assert "ended (3) before socket in the XSKMAP" in result["reason"]
    assert "no such device" in result["reason"]


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with started("conformance", "--case", "handover", "--case", "forward*", results=tmp_path) as command:
        child = psutil.Process(command.process.pid)
        # A second process runs: all that a run can leave is there.
        assert comes_true(lambda: any(tmp_path.iterdir()) and bool(child.children()), 20)
        command.process.send_signal(signal.SIGINT)
        assert command.finish() == 130, command.err
        assert "everything was removed" in command.err
        assert command.leaves_nothing(5)
    assert list(tmp_path.iterdir()) == []
