# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab send` and `xdplab sink` as people run them: one clear line for what cannot be, exit codes."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from scapy.all import IP, TCP, UDP, Dot1Q, Ether, Raw, wrpcap, wrpcapng

from labs.harness import cli, cli_sink
from labs.harness.sink import Sink, SinkSpec
from labs.harness.tests.tester_tools import once
from labs.harness.topology import PAIR, Topology
from labs.harness.traffic import ENGINES

XDPLAB = (sys.executable, "-c", "import sys; from labs.harness.cli import main; sys.exit(main())")
DUT_IP = PAIR.end("dut0").ip


def at(pair: Topology, role: str) -> list[str]:
    """The options that name a namespace which only we hold, also for a child."""
    return ["-i", f"{role}0", "--netns", f"/proc/{os.getpid()}/fd/{pair[role].fd}"]


def send(pair: Topology, *options: str) -> int:
    return cli.main(["send", *at(pair, "gen"), *options])


@pytest.mark.parametrize("command", ["send", "sink"])
def test_help_teaches_by_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"xdplab {command} -i" in text
    assert "examples:" in text


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to send: --pcap FILE or --to"),
        (["--to", DUT_IP, "--pcap", "x"], "one of the two"),
        (["--to", "banana"], "'banana' is no address"),
        (["--to", f"{DUT_IP}:70000"], "port 70000"),
        (["--to", "10.1.1.1"], "MAC address of 10.1.1.1 is not known on gen0: give --dst-mac"),
        (["--to", "fd00::1"], "gen0 has no IPv6 address"),
        (["--to", DUT_IP, "--dst-mac", "x"], "'x' is no MAC address"),
        (["--to", DUT_IP, "--rate", "0"], "rate '0': use more than 0"),
        (["--to", DUT_IP, "--rate", "fast"], "rate 'fast': write it as"),
        (["--to", DUT_IP, "--count", "-1"], "'-1' is no number"),
        (["--to", DUT_IP, "--count", "many"], "'many' is no number"),
        (["--to", DUT_IP, "--duration", "0"], "duration 0.0: use more than 0"),
        (["--to", DUT_IP, "--size", "59"], "frame size 59: use 60 to 3000"),
        (["--to", DUT_IP, "--size", "3000"], "3000 bytes does not fit"),
        (
            ["--to", DUT_IP, "--size", "60", "--vlan", "5"],
            "make the frame 4 bytes longer, or send it unstamped",
        ),
        (["--to", DUT_IP, "--vary", "ip.ttl=1-9"], "field 'ip.ttl' cannot vary; those that can"),
        (["--to", DUT_IP, "--vary", "tcp.sport=1-9"], "no packet of the plan has this field"),
        (
            ["--to", DUT_IP, "--engine", "socket", "--vary", "ip.src=1.1.1.1-1.1.1.2"],
            "with the socket engine",
        ),
        (["--to", DUT_IP, "--cpu", "4000"], "CPU 4000 is not ours"),
        (["--to", DUT_IP, "--burst", "0"], "give 1 to 65536"),
        (["--pcap", "/nowhere.pcap"], "cannot read /nowhere.pcap"),
    ],
)
def test_what_cannot_be_sent_is_one_line_and_exit_code_2(
    pair: Topology, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(pair, *options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("xdplab: ")
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-i", "gen7"], "no interface 'gen7' in this namespace; there is lo"),
        (["-i", "lo", "--netns", "nowhere"], "no network namespace 'nowhere'"),
        (["-i", "lo", "--netns", "999999999"], "no network namespace"),
    ],
)
@pytest.mark.parametrize("command", ["send", "sink"])
def test_a_device_or_namespace_that_is_not_there_is_named(
    command: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--to", "1.1.1.1"] if command == "send" else []
    assert cli.main([command, *options, *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.system
def test_a_capture_is_sent_again_and_again_unstamped(
    pair: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), [Ether() / IP() / UDP() / Raw(bytes(n)) for n in (10, 900)])
    with Sink(pair["dut"], "dut0") as sink:
        assert send(pair, "--pcap", str(path), "--no-stamp", "--count", "1k", "--json") == 0
        assert sink.report().foreign == 1000
    report = json.loads(capsys.readouterr().out)["report"]
    assert (report["sent"], report["bytes"], report["refused"]) == (1000, 500 * (52 + 942), 0)
    path.write_bytes(path.read_bytes()[:-1])
    assert send(pair, "--pcap", str(path)) == 2
    assert "is truncated: it ends within packet 2" in capsys.readouterr().err
    data = path.read_bytes()
    path.write_bytes(data[:20] + struct.pack("<I", 228) + data[24:])
    assert send(pair, "--pcap", str(path)) == 2
    assert "link type 228; only Ethernet" in capsys.readouterr().err
    path.write_bytes(b"")
    assert send(pair, "--pcap", str(path)) == 2
    assert "is empty: it is no pcap file" in capsys.readouterr().err


@pytest.mark.system
def test_the_socket_engine_says_that_it_sends_udp_only(
    pair: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pcapng"
    wrpcapng(str(path), [Ether() / IP(dst=DUT_IP) / layer() / Raw(bytes(30)) for layer in (UDP, TCP)])
    assert send(pair, "--pcap", str(path), "--engine", "socket") == 2
    said = capsys.readouterr().err
    assert said == (
        "xdplab: packet 2 is no UDP datagram: the socket engine sends UDP only; use xdp or scapy\n"
    )
    assert cli.main(["send", "--help"]) == 0
    assert "UDP only" in capsys.readouterr().out


@pytest.mark.system
def test_send_and_sink_agree(pair: Topology, capsys: pytest.CaptureFixture[str]) -> None:
    sink = subprocess.Popen(
        [*XDPLAB, "sink", *at(pair, "dut"), "--expect", "12k", "--flows", "10", "--per-flow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with sink:
        assert sink.stderr is not None
        assert "sink on dut0, native mode" in sink.stderr.readline()
        vary = ["--vary", "udp.sport=1-10", "--vary", "udp.dport=5-6"]
        assert send(pair, "--to", DUT_IP, "-n", "12k", "--size", "imix", "--rate", "50k", *vary) == 0
        out, _ = sink.communicate(timeout=10)
    assert "sent 12,000 frames" in capsys.readouterr().out
    report = json.loads(out)
    assert sink.returncode == 0
    assert (report["perfect"], report["received"], len(report["streams"])) == (True, 12000, 10)


@pytest.mark.system
def test_what_is_lost_gives_exit_code_1_and_is_printed(pair: Topology) -> None:
    sink = subprocess.Popen(
        [*XDPLAB, "sink", *at(pair, "dut"), "--expect", "100", "--timeout", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with sink:
        assert sink.stderr is not None
        sink.stderr.readline()
        assert send(pair, "--to", DUT_IP, "-n", "90") == 0
        out, _ = sink.communicate(timeout=10)
    assert sink.returncode == 1
    assert "received 90 of 100 frames" in out
    assert "lost 10 (90 to 99)" in out


@pytest.mark.system
@pytest.mark.parametrize("engine", ENGINES)
def test_a_device_that_disappears_gives_what_was_sent_and_exit_code_2(
    pair: Topology, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sink(pair["dut"], "dut0", SinkSpec(sequences=1 << 20)) as sink:
        gone = once(lambda: sink.wait(20, 5.0), pair.pairs[0].close)
        options = ["--to", DUT_IP, "-n", "1M", "--rate", "2k", "--engine", engine]
        assert send(pair, *options) == 2
        gone.join()
    said = capsys.readouterr()
    sent = int(said.out.split()[1].replace(",", ""))
    assert sent >= 20
    assert said.err == f"xdplab: gen0: device disappeared after {sent:,} of 1,000,000 frames\n"


@pytest.mark.system
def test_a_sink_whose_device_disappears_tells_what_it_found(
    pair: Topology, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    receiving = threading.Event()

    def receive(*arguments: Any) -> None:
        receiving.set()
        receive_until_the_end(*arguments)

    receive_until_the_end = cli_sink.receive
    monkeypatch.setattr(cli_sink, "receive", receive)
    gone = once(lambda: receiving.wait(10), pair.pairs[0].close)
    assert cli.main(["sink", *at(pair, "dut")]) == 2
    gone.join()
    said = capsys.readouterr()
    assert "received 0 frames" in said.out
    assert said.err.endswith("xdplab: dut0 disappeared after 0 frames\n")


@pytest.mark.system
def test_a_peer_without_napi_gives_exit_code_2(pair: Topology, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(pair, "--to", DUT_IP, "-n", "50") == 2
    assert (
        "gen0 took none of 50 frames: the other end of a veth needs an XDP program" in capsys.readouterr().err
    )


@pytest.mark.system
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(pair: Topology, number: signal.Signals, code: int) -> None:
    with Sink(pair["dut"], "dut0", SinkSpec(sequences=1 << 20)) as sink:
        child = subprocess.Popen(
            [*XDPLAB, "send", *at(pair, "gen"), "--to", DUT_IP, "--rate", "20k", "-n", "1000M"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with child:
            sink.wait(500, 5.0)
            child.send_signal(number)
            out, err = child.communicate(timeout=10)
        assert child.returncode == code, err
        if number == signal.SIGINT:
            sent = int(out.split()[1].replace(",", ""))
            assert sink.wait(sent, 0.2) == sent
            assert "interrupted" in out
        assert "Traceback" not in err


@pytest.mark.system
def test_a_rate_beyond_reach_says_by_how_much_it_fell_short(
    pair: Topology, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sink(pair["dut"], "dut0"):
        assert send(pair, "--to", DUT_IP, "-n", "100k", "--rate", "900M") == 0
    assert "beyond reach, this is what could be sent" in capsys.readouterr().out


@pytest.mark.system
def test_a_vlan_tag_goes_along(pair: Topology, capsys: pytest.CaptureFixture[str]) -> None:
    with Sink(pair["dut"], "dut0", SinkSpec(expected=99, flows=9)) as sink:
        vary = ["--vlan", "7", "--vary", "vlan.id=1-9"]
        assert send(pair, "--to", DUT_IP, "-n", "99", *vary) == 0
        assert sink.report().perfect
    assert Dot1Q in Ether(bytes(Ether() / Dot1Q())), "scapy knows the tag that the command makes"
