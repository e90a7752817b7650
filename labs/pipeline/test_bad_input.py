# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What cannot be used is one line that says what to do, exit code 2, and nothing left behind.

Most cases run in this process, where the leak check sees each descriptor, child, namespace and device.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.cli import main
from labs.harness.pipeline import Pipeline
from labs.harness.topology import Topology
from labs.pipeline.command import compile_bpf, finished
from xdp.program import Program

pytestmark = pytest.mark.system

Refused = Callable[..., str]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that does not exist yet, and shall not."""
    folder = tmp_path / "deep" / "results"
    monkeypatch.setenv("XDPLAB_RESULTS", str(folder))
    return folder


@pytest.fixture
def refused(results: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `xdplab …` in this process, sees that it is refused as it should be, and gives the line."""

    def run(*options: str) -> str:
        if options[0] == "forward":  # one that starts after all shall end, too
            options = (*options, "--duration", "0.1", "--interval", "0")
        code = main([*options])
        out, err = capsys.readouterr()
        assert err.startswith("xdplab: "), err
        assert err.count("\n") == 1, err
        assert (code, out) == (2, "") or "topology" in out
        assert code == 2
        assert not results.parent.exists(), "a results folder was left"
        return err

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("nonsense", "there is no command 'nonsense'; the commands are run, xskmap"),
        ("--nonsense", "there is no option '--nonsense'"),
        ("run --nonsense", "unrecognized arguments: --nonsense; see xdplab run --help"),
        ("run --packet 5", "unrecognized arguments: --packet 5"),
        ("run nonsense", "there is no lab 'nonsense'; there are"),
        ("run --rate 0", "'0' is no rate: give 0.1 to 1e9 datagrams a second, or max"),
        ("run --rate -5", "'-5' is no rate"),
        ("run --rate fast", "'fast' is no rate"),
        ("run --rate nan", "'nan' is no rate"),
        ("run --rate inf", "'inf' is no rate"),
        ("run --packets -1", "--packets: '-1' does not fit: give 0 to"),
        ("run --packets 1e9", "'1e9' does not fit"),
        ("run --packets 99999999999", "'99999999999' does not fit"),
        ("run --port 0", "--port: '0' does not fit: give 1 to 65535"),
        ("run --port 70000", "'70000' does not fit"),
        ("run --port -1", "'-1' does not fit"),
        ("run --port http", "'http' does not fit"),
        ("run --payload 15", "--payload: '15' does not fit: give 16 to 1472"),
        ("run --engine socket", "invalid choice: 'socket'"),
        ("run --engine xdp --payload 17", "--payload 17: give 18 to 1472"),
        ("run --engine xdp --mode generic", "a veth takes frames from XDP only with a native program"),
        ("run --engine xdp --pcap", "no capture sees these frames; use --engine scapy"),
        ("run --packets 10000001", "--packets 10000001: give 0 to 10000000"),
        ("run --payload 1473", "'1473' does not fit"),  # more than the MTU holds
        ("run --pings -1", "'-1' does not fit"),
        ("run --action nonsense", "invalid choice: 'nonsense'"),
        ("run --mode offload", "invalid choice: 'offload'"),
        ("run --object nonsense", "no program is called 'nonsense'; there are"),
        ("run --object /nonexistent.o", "no such BPF object file: /nonexistent.o"),
        ("run --object /", "/ is a directory, not a BPF object file"),
        ("run --object /etc/passwd", "/etc/passwd is not an ELF file; compile the program with clang"),
        ("run --object /bin/true", "/bin/true is an ELF file, but not for BPF"),
        ("run --object xdp_pass", "has no map 'xsks_map'"),
        ("run --object xdp_pass --keep", "has no map 'xsks_map'"),  # what was pinned by then goes, too
        ("run --results /proc/results", "cannot make the results folder /proc/results"),
        ("run --results /etc/passwd", "cannot make the results folder /etc/passwd"),
        ("xskmap --id 4294967295", "there is no BPF map with id 4294967295"),
        ("xskmap --dev nonsense0", "there is no device nonsense0; there is lo"),
        ("xskmap --dev lo --netns nonsense", "there is no network namespace nonsense"),
        ("xskmap --dev lo", "no XDP program is attached to lo"),
        ("forward -i nonsense0", "no interface named 'nonsense0' in this network namespace"),
        ("forward", "name the interface to receive on with --interface"),
        ("forward -i lo -q -1", "queues count from 0"),
        ("forward -i lo -q 0,0", "--queue 0,0: name each queue once"),
        ("forward -i lo -q x", "'x' is no number, nor a list like 0,1"),
        ("forward -i lo --frame-size 1000", "--frame-size 1000: choose a power of two"),
        ("forward -i lo --frame-size 3000", "--frame-size 3000: choose a power of two"),
        ("forward -i lo --frame-size 1024", r"\[EINVAL\]; frame size must be a power of two from 2048"),
        ("forward -i lo --frame-size 8192", r"\[EINVAL\]; frame size must be a power of two from 2048"),
        ("forward -i lo --rx-size 1000", "--rx-size 1000: choose a power of two"),
        ("forward -i lo --fill-size 0", "--fill-size 0: choose a power of two"),
        ("forward -i lo --cpu 4096", "--cpu 4096: this process may"),
        ("forward -i lo --xskmap-fd 0", "--xskmap-fd 0 is no BPF map"),
        ("forward -i lo --xskmap-fd 987", "--xskmap-fd 987 is no BPF map"),
        ("forward -i lo --xskmap /nonexistent", "nothing is pinned at /nonexistent"),
        ("forward -i lo --ready-fd 987", "--ready-fd 987: no descriptor open for writing"),
        ("forward -i lo --report-fd 987", "--report-fd 987: no descriptor open for writing"),
        ("forward -i lo --counters-fd 987", "--counters-fd 987: give a memfd"),
        ("features --nonsense", "unrecognized arguments: --nonsense; see xdplab features --help"),
        ("bench --runs 0", "'0' does not fit"),
        ("cleanup --run nonsense", "--run nonsense is no run's id"),
    ],
)
def test_a_mistake_is_one_line(options: str, message: str, refused: Refused) -> None:
    try:
        said = refused(*options.split())
    except SystemExit as end:  # pragma: no cover
        pytest.fail(f"left by SystemExit({end.code})")
    assert re.search(message, said), said


OBJECTS = {
    "no XDP section": (
        'SEC("tc") int classify(struct __sk_buff *skb) { return 0; }',
        r"has no XDP section \(program sections: tc\); mark a function SEC\(\"xdp\"\)",
    ),
    "several programs": (
        'SEC("xdp") int a(struct xdp_md *c) { return 2; } SEC("xdp") int b(struct xdp_md *c) { return 1; }',
        "has several XDP programs, name one of a, b",
    ),
    "refused by the verifier": (
        'SEC("xdp") int unsafe(struct xdp_md *ctx) { return *(int *)(long)ctx->data; }',
        "the verifier says: R1 offset is outside of the packet",
    ),
    "another type of map": (
        """struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4);
                    __type(key, __u32); __type(value, __u32); } xsks_map SEC(".maps");
           SEC("xdp") int other(struct xdp_md *ctx)
           { __u32 key = 0; return bpf_map_lookup_elem(&xsks_map, &key) ? XDP_PASS : XDP_DROP; }""",
        "its map 'xsks_map' is of type ARRAY",
    ),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_an_object_that_cannot_serve_is_one_line(what: str, refused: Refused, tmp_path: Path) -> None:
    text, message = OBJECTS[what]
    path = compile_bpf(tmp_path / "users.bpf.o", text)
    assert re.search(message, refused("run", "--pings", "0", "--object", path))


def test_a_truncated_object_is_one_line(refused: Refused, tmp_path: Path) -> None:
    whole = Path(compile_bpf(tmp_path / "whole.o", OBJECTS["several programs"][0])).read_bytes()
    for size in (0, 40, 64, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.o"
        cut.write_bytes(whole[:size])
        said = refused("run", "--pings", "0", "--object", str(cut))
        assert re.search("is not an ELF file|cannot be used as a BPF object|is an ELF file, but", said), said


def test_verbose_prints_the_verifiers_log_after_the_line(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = compile_bpf(tmp_path / "users.bpf.o", OBJECTS["refused by the verifier"][0])
    for options in (["--verbose", "run"], ["run", "--verbose"]):
        assert main([*options, "--pings", "0", "--object", path]) == 2
        line, *log = capsys.readouterr().err.splitlines()
        assert line.startswith("xdplab: load BPF object")
        assert "add --verbose" not in line
        assert "invalid access to packet, off=0 size=4, R1(id=0,off=0,r=0)" in log


def test_huge_pages_that_are_not_there_are_one_line(refused: Refused) -> None:
    free = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    if free > 1000:
        pytest.skip(f"{free} huge pages are free")
    said = refused("forward", "-i", "lo", "--hugepages", "--frames", "1048576")
    assert "--hugepages: the UMEM needs 1024 pages of 2 MiB and" in said
    assert "nr_hugepages" in said


def test_a_map_that_is_no_xskmap_is_one_line(refused: Refused, program: Program) -> None:
    counters = program.maps["counters"]
    assert "of type PERCPU_ARRAY, no XSKMAP" in refused("xskmap", "--id", str(counters.id))
    said = refused("forward", "-i", "lo", "--xskmap-fd", str(counters.fd))
    assert "is the map 'counters' of another type: give an XSKMAP" in said


def test_a_queue_out_of_range_and_a_device_that_is_down_are_one_line(
    refused: Refused, topology: Topology
) -> None:
    with topology["dut"].entered():
        assert "dut0 has no queue 1: it has queue 0 only" in refused("forward", "-i", "dut0", "-q", "1")
        subprocess.run(["ip", "link", "set", "dut0", "down"], check=True)
        assert "dut0 is down: ip link set dut0 up" in refused("forward", "-i", "dut0")


def test_a_second_forwarder_on_a_queue_is_one_line_and_the_first_goes_on(
    refused: Refused, pipeline: Pipeline
) -> None:
    assert pipeline.forwarder is not None
    with pipeline.dut.entered():
        said = refused("forward", "-i", "dut0")
    assert "another AF_XDP socket holds this queue" in said
    assert pipeline.forwarder.running
    assert len(pipeline.xskmap().occupied) == 1


def test_a_forwarder_that_cannot_start_ends_a_run_in_its_own_words(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ForwarderSpec, "to_argv", lambda _: ["-i", "nonsense0"])
    assert "no interface named 'nonsense0'" in refused("run", "--pings", "0", "--keep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("run", "labs cannot run here: root: you are not root: use sudo"),
        ("forward -i lo", "run as root"),
        ("cleanup", "needs root"),
    ],
)
def test_without_root_each_command_says_so(options: str, message: str, tmp_path: Path) -> None:
    """Nobody in a user namespace of its own: a real process, whoever runs the tests."""
    command = finished(*options.split(), before=("unshare", "--user"), results=tmp_path / "results")
    assert re.fullmatch(r"xdplab: [^\n]*\n", command.err), command.err
    assert message in command.err
    assert (command.process.returncode, command.out) == (2, "")
    assert command.left() == []
    assert not (tmp_path / "results").exists()


WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def test_root_without_capabilities_is_told_what_is_refused(tmp_path: Path) -> None:
    command = finished("run", before=WITHOUT_CAPABILITIES, results=tmp_path / "results")
    assert re.fullmatch(r"xdplab: labs cannot run here: [^\n]*not permitted[^\n]*\n", command.err)
    assert command.process.returncode == 2
    assert command.left() == []


def test_a_sender_without_capabilities_is_told_so_though_it_stays_in_its_namespace() -> None:
    command = finished("send", "-i", "lo", "--to", "127.0.0.1", before=WITHOUT_CAPABILITIES)
    assert re.fullmatch(r"xdplab: enter network namespace [^\n]*EPERM\]; run as root\n", command.err)
    assert command.process.returncode == 2


def test_a_real_process_leaves_nothing_either(tmp_path: Path) -> None:
    path = compile_bpf(tmp_path / "users.bpf.o", OBJECTS["another type of map"][0])
    command = finished("run", "--keep", "--object", path, results=tmp_path / "results")
    assert command.process.returncode == 2
    assert re.fullmatch(r"xdplab: [^\n]*is of type ARRAY[^\n]*\n", command.err), command.err
    assert command.left() == []
