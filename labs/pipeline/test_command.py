# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab run` as people and programs call it: verdicts, results, packets, and a lab that is kept."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from scapy.all import ICMP, UDP, rdpcap

from labs.harness.cli import main
from labs.pipeline.command import PATH, Command, Standing, comes_true, compile_bpf, finished, started

pytestmark = pytest.mark.system

PACKETS = 500


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one run that most tests look at left its result."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def run(results: Path) -> Command:
    """A run that was asked for all that it can write."""
    return finished("run", "--packets", str(PACKETS), "--pings", "5", "--json", "--pcap", results=results)


def folder_of(results: Path) -> Path:
    """The folder of the only run."""
    (folder,) = (entry for entry in results.iterdir() if not entry.is_symlink())
    return folder


def result_of(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and run.json of a run in this process."""
    code = main(["run", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_pass_is_exit_code_0_and_a_report_for_people(run: Command) -> None:
    assert run.process.returncode == 0, run.err
    assert re.search(r"^verdict +PASS$", run.err, re.MULTILINE)
    assert re.search(rf"^receiver +{PACKETS} +{PACKETS} received +0 +0$", run.err, re.MULTILINE)
    assert re.search(r" pid \d+ python\S* -S forwarder/__main__.py", run.err)
    assert run.left() == []


def test_json_on_stdout_is_run_json_to_the_byte_and_follows_its_schema(run: Command, results: Path) -> None:
    assert run.out == (folder_of(results) / "run.json").read_text()
    data = json.loads(run.out)
    schema = json.loads((files("labs.harness") / "run.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(data)
    assert data["verdict"] == {"pass": True, "reasons": []}
    assert data["ledger"]["unaccounted"] == 0
    assert data["forwarder"]["frames"]["conserved"] is True
    assert data["granted"]["attachment"]["mode"] == "native"
    assert (data["ping"]["with"]["received"], data["ping"]["without"]["received"]) == (5, 5)


def test_latest_points_to_the_newest_run(
    run: Command, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latest = results / "latest"
    assert latest.is_symlink()
    assert not latest.readlink().is_absolute(), "a results folder must stand a move"
    assert latest.resolve() == folder_of(results).resolve()
    for _ in range(2):
        assert main(["run", "--packets", "1", "--pings", "0", "--results", str(tmp_path)]) == 0
    folders = sorted(entry for entry in tmp_path.iterdir() if not entry.is_symlink())
    assert len(folders) == 2
    newest = max(folders, key=lambda folder: folder.stat().st_mtime_ns)
    assert (tmp_path / "latest").resolve() == newest.resolve()


def test_pcaps_hold_each_packet(run: Command, results: Path) -> None:
    sent = rdpcap(str(folder_of(results) / "gen0.pcap"))
    assert sum(UDP in packet and packet[UDP].dport == 4242 for packet in sent) == PACKETS
    assert sum(UDP in packet and packet[UDP].sport == 4242 for packet in sent) == PACKETS
    # What XDP took on dut0 no capture there can see, and what AF_XDP sends neither.
    assert [packet for packet in rdpcap(str(folder_of(results) / "dut0.pcap")) if ICMP not in packet] == []


def test_no_packets_are_a_pass_with_an_empty_ledger(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, data = result_of(capsys, "--packets", "0", "--pings", "0", "--results", str(tmp_path))
    assert (code, data["ledger"]["sent"], data["ledger"]["unaccounted"]) == (0, 0, 0)
    assert all(hop["entered"] == 0 for hop in data["ledger"]["hops"])


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--action", "drop"), "dropped"),
        (("--action", "respond"), "answered_udp"),
        (("--mode", "generic"), "tx_completed"),
    ],
)
def test_actions_and_modes_do_what_they_are_called(
    options: tuple[str, ...], where: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, data = result_of(capsys, "--packets", "200", "--pings", "0", "--results", str(tmp_path), *options)
    assert (code, data["verdict"]["reasons"]) == (0, [])
    assert data["forwarder"]["counters"][where] == 200
    assert data["received"]["count"] == (0 if where == "dropped" else 200)
    assert data["granted"]["attachment"]["mode"] == ("generic" if "generic" in options else "native")


HALF = """
struct { __uint(type, BPF_MAP_TYPE_XSKMAP); __uint(max_entries, 4);
         __type(key, __u32); __type(value, __u32); } xsks_map SEC(".maps");
static __u32 seen;
SEC("xdp") int half(struct xdp_md *ctx)
{ return seen++ & 1 ? XDP_DROP : bpf_redirect_map(&xsks_map, 0, XDP_PASS); }
"""


def test_fail_is_exit_code_1_with_its_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's own program, without counters of ours, that loses every second datagram."""
    program = compile_bpf(tmp_path / "half.bpf.o", HALF)
    code, data = result_of(
        capsys, "--packets", "100", "--pings", "0", "--action", "drop", "--object", program,
        "--results", str(tmp_path),
    )  # fmt: skip
    assert code == 1
    assert data["verdict"] == {"pass": False, "reasons": ["xdp/dropped: 50 frames"]}
    assert (data["ledger"]["unaccounted"], data["forwarder"]["counters"]["dropped"]) == (0, 50)
    assert (tmp_path / "latest" / "run.json").exists(), "a FAIL is a result, too"


def test_a_users_own_program_that_redirects_all_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = compile_bpf(tmp_path / "all.bpf.o", HALF.replace("seen++ & 1 ? XDP_DROP :", "seen++, "))
    for mode in ("native", "generic"):
        options = ("--mode", mode, "--object", program, "--results", str(tmp_path))
        code, data = result_of(capsys, "--packets", "100", "--pings", "0", *options)
        assert (code, data["verdict"]["reasons"]) == (0, [])
        assert data["received"]["count"] == 100


def test_a_kept_lab_stands_its_commands_work_and_clean_up_takes_it_away(tmp_path: Path) -> None:
    with started("run", "--packets", "10", "--pings", "0", "--keep", results=tmp_path) as run:
        standing = Standing.of(run)
        assert run.finish() == 0, run.err
    try:
        assert len(standing.alive()) == 3, standing.alive()
        assert sorted(re.sub(r" xl-\w+-| \d+", " ", line) for line in run.left()) == [
            "namespace dut",
            "namespace gen",
            "process ",
        ]
        printed = re.findall(r"^  (\S.*)$", run.out.split("A look around:")[1], re.MULTILINE)
        look, remove = printed[:-1], printed[-1]
        assert len(look) == 4
        said = [in_shell(line) for line in look]
        assert "hello" in said[1], "the kept forwarder does not echo"
        assert f"pid {standing.forwarder}" in said[2]
        assert "rx_queue_0_xdp_redirect: 11" in said[3]
    finally:
        said_last = in_shell(remove if run.left() else "true")
    assert said_last.count("removed ") == 3
    assert run.left() == []
    assert comes_true(lambda: not standing.alive(), 10), standing.alive()


def in_shell(line: str) -> str:
    """Output of a command as it was printed for people."""
    ran = subprocess.run(
        ["bash", "-c", line],
        env={"PATH": PATH, "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize("action", ["echo", "respond", "drop"])
def test_the_xdp_engine_is_verified_by_the_sink(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer than the rings have room for: none is lost, however busy the machine is."""
    options = ("--engine", "xdp", "--packets", "10000", "--rate", "100000", "--pings", "2")
    code, data = result_of(capsys, *options, "--action", action, "--results", str(tmp_path))
    assert code == 0, data["verdict"]
    Draft202012Validator(json.loads((files("labs.harness") / "run.schema.json").read_text())).validate(data)
    assert data["ledger"]["hops"][-1]["name"] == "sink"
    assert (data["ledger"]["delivered"], data["ledger"]["unaccounted"]) == (10_000, 0)
    assert data["received"]["received"] == (0 if action == "drop" else 10_000)
    assert data["received"]["perfect"] == (action != "drop")
    assert data["kernel_drops"]["drops"] == []
