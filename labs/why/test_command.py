# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab why` on foreign processes: found by device, map and pid; text, JSON, exit codes, bad questions."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from labs.harness import cli
from labs.harness.results import ResultFolder
from labs.pipeline.lab import run_lab
from labs.pipeline.spec import LabSpec
from labs.why.scene import MANY, OURS, Scene
from xdp.program import Program

pytestmark = pytest.mark.system


def why(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(["why", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def deaf(scene: Scene, faulty: Path) -> tuple[Scene, Program, int]:
    """A foreign program that does not read, with traffic for it; its program and its pid."""
    program = scene.attach()
    process = scene.start(faulty, program, "deaf")
    scene.frames(OURS, burst=MANY)
    return scene, program, process.pid


class TestWays:
    """The same answer, by whatever the question names."""

    def names(self, *arguments: str) -> list[tuple[str, str]]:
        code, out, err = why(*arguments, "--json", "--seconds", "0.2")
        assert (code, err) == (1, "")
        return [(one["device"], one["name"]) for one in json.loads(out)["diagnoses"]]

    def test_by_process(self, deaf: tuple[Scene, Program, int]) -> None:
        assert self.names("--pid", str(deaf[2])) == [("dut0", "rx_ring_full")]

    def test_by_map(self, deaf: tuple[Scene, Program, int]) -> None:
        assert self.names("--id", str(deaf[1].maps["xsks_map"].id)) == [("dut0", "rx_ring_full")]

    def test_by_device_in_the_namespace_of_a_process(self, deaf: tuple[Scene, Program, int]) -> None:
        assert self.names("--dev", "dut0", "--netns", str(deaf[2])) == [("dut0", "rx_ring_full")]

    def test_without_a_program_by_the_map_that_the_socket_is_in(self, scene: Scene, faulty: Path) -> None:
        program = scene.load()
        process = scene.start(faulty, program)
        assert self.names("--id", str(program.maps["xsks_map"].id)) == [("dut0", "not_attached")]
        assert self.names("--pid", str(process.pid)) == [("dut0", "not_attached")]


def test_the_text_says_cause_evidence_and_remedy_within_80_columns(deaf: tuple[Scene, Program, int]) -> None:
    code, out, _ = why("--pid", str(deaf[2]), "--seconds", "0.2")
    assert code == 1
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    assert f"The RX ring is full: the socket of faulty (pid {deaf[2]}) does not read." in words
    assert "rx 128/128" in words
    assert "let it read in batches" in words


def test_healthy_is_exit_code_0(scene: Scene, faulty: Path) -> None:
    process = scene.start(faulty, scene.attach())
    scene.frames(OURS)
    code, out, _ = why("--pid", str(process.pid), "--seconds", "0.2")
    assert (code, "Packets flow" in out) == (0, True)


def test_without_probe_the_program_is_left_alone(scene: Scene, faulty: Path) -> None:
    program = scene.attach()
    process = scene.start(faulty, program)
    arguments = ("--pid", str(process.pid), "--seconds", "0.2", "--json")
    scene.frames(OURS.replace(b"\x10\x92", b"\x10\x93"))  # port 4243
    (found,) = json.loads(why(*arguments, "--no-probe")[1])["diagnoses"]
    assert found["name"] == "not_matched"
    assert {frame["verdict"] for frame in found["facts"]["frames"]} == {None}
    (found,) = json.loads(why(*arguments)[1])["diagnoses"]
    assert "XDP_PASS" in {frame["verdict"] for frame in found["facts"]["frames"]}


def test_the_sockets_of_other_processes_live_on_as_they_were(scene: Scene, faulty: Path) -> None:
    """They are borrowed to be read: no descriptor of ours stays, and a process can still close its own."""
    program = scene.attach()
    process = scene.start(faulty, program)
    assert why("--pid", str(process.pid), "--seconds", "0.1")[0] == 1
    process.kill()
    assert why("--id", str(program.maps["xsks_map"].id), "--seconds", "0.1")[1].find("is empty") > 0


BAD = {
    "no such device": (["--dev", "nix0"], "there is no device nix0 in this network namespace"),
    "no such namespace": (["--dev", "lo", "--netns", "nowhere"], "there is no network namespace nowhere"),
    "a namespace without device": (["--netns", "1"], "give --dev too"),
    "no such map": (["--id", "4294967295"], "there is no BPF map with id 4294967295"),
    "no AF_XDP process": (["--pid", str(os.getppid())], "has no AF_XDP socket"),
    "no such process": (["--pid", "4194304"], "there is no process 4194304"),
    "no run": (["--run", "/nowhere"], "cannot read /nowhere"),
    "a run cannot be watched": (["--run", "/nowhere", "--seconds", "1"], "a finished run cannot be watched"),
    "no time": (["--seconds", "0"], "'0' is no duration"),
    "no number": (["--id", "x"], "'x' is no id"),
    "two questions": (["--id", "1", "--pid", "1"], "not allowed with argument"),
    "other modes": (["--want", "hardware"], "invalid choice"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=list(BAD))
def test_a_bad_question_is_answered_by_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    code, out, err = why(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("xdplab: ")
    assert said in err


def test_a_device_of_another_namespace_is_named_with_its_place(scene: Scene, faulty: Path) -> None:
    process = scene.start(faulty, scene.attach())
    code, _, err = why("--dev", "dut0")
    assert code == 2
    assert "one is in namespace" in err
    assert process.running


def test_without_root_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, out, err = why()
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "run it with sudo" in err


def test_a_device_that_disappears_while_it_is_watched(
    scene: Scene, faulty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labs.harness.why import gather as gathering

    program = scene.attach()
    process = scene.start(faulty, program)
    monkeypatch.setattr(gathering, "listen", lambda *_: scene.topology.pairs[0].close())
    code, out, err = why("--pid", str(process.pid), "--seconds", "0.1")
    assert (code, out, err) == (2, "", "xdplab: the device disappeared while it was watched\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a good run of the main lab writes."""
    folder = ResultFolder("pipeline", "why", tmp_path_factory.mktemp("results"))
    result = run_lab(LabSpec(packets=200, pings=0), "why", folder=folder)
    made: dict[str, Any] = json.loads(json.dumps(result.to_dict()))
    return made


class TestFinishedRun:
    """From run.json alone, where what went wrong was counted."""

    def name(self, run: dict[str, Any], folder: Path) -> str:
        (folder / "run.json").write_text(json.dumps(run))
        code, out, err = why("--run", str(folder), "--json")
        assert err == ""
        (found,) = json.loads(out)["diagnoses"]
        assert code == (0 if found["healthy"] else 1)
        return str(found["name"])

    def test_a_good_run_is_healthy(self, run: dict[str, Any], tmp_path: Path) -> None:
        assert self.name(run, tmp_path) == "healthy"

    def test_generic_where_native_was_asked(self, run: dict[str, Any], tmp_path: Path) -> None:
        changed = copy.deepcopy(run)
        changed["granted"]["attachment"]["mode"] = "generic"
        assert self.name(changed, tmp_path) == "generic_mode"

    def test_an_empty_map(self, run: dict[str, Any], tmp_path: Path) -> None:
        changed = copy.deepcopy(run)
        changed["xskmap"]["slots"] = []
        assert self.name(changed, tmp_path) == "map_empty"

    def test_a_full_ring(self, run: dict[str, Any], tmp_path: Path) -> None:
        changed = copy.deepcopy(run)
        changed["counters"] |= {"xsk_rx_ring_full": 150, "dut0_rx_queue_0_drops": 150}
        assert self.name(changed, tmp_path) == "rx_ring_full"

    def test_no_frames(self, run: dict[str, Any], tmp_path: Path) -> None:
        changed = copy.deepcopy(run)
        changed["counters"] |= {"xsk_rx_dropped": 9, "xsk_rx_fill_ring_empty_descs": 9}
        changed["counters"] |= {"dut0_rx_queue_0_drops": 9}
        assert self.name(changed, tmp_path) == "fill_empty"

    def test_nothing_sent(self, run: dict[str, Any], tmp_path: Path) -> None:
        changed = copy.deepcopy(run)
        changed["counters"] = dict.fromkeys(run["counters"], 0)
        assert self.name(changed, tmp_path) == "nothing_sent"

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"spec": {}}'])
    def test_another_file_is_refused_in_one_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "run.json").write_text(text)
        code, out, err = why("--run", str(tmp_path))
        assert (code, out, len(err.splitlines())) == (2, "", 1)
