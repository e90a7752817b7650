# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a running forwarder tells: over its Unix socket, as JSON lines, and as a table on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from forwarder import server
from forwarder.spec import ForwarderSpec
from labs.harness.cli import main
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.forwarders import running
from labs.harness.process import NotReadyError
from labs.harness.topology import Topology
from xdp.pyxdp.errors import InputError

WaitUntil = Callable[[Callable[[], object], str], None]
SCHEMA = Path(server.__file__).with_name("lines.schema.json")


def valid(message: dict[str, Any]) -> dict[str, Any]:
    """The message, after the published schema has accepted it."""
    jsonschema.validate(message, json.loads(SCHEMA.read_text()))
    return message


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", action="echo", interval=0)


@pytest.mark.lab
class TestSocket:
    """The Unix socket."""

    def test_a_reader_in_its_namespace_gets_what_was_counted(
        self, topology: Topology, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        name = forwarder.ready["process"]["stats_socket"]
        assert name == f"@xdplab/forward/{forwarder.pid}"
        send(100)
        forwarder.wait_for(lambda: forwarder.counters()["tx_completed"] == 100, 5, "packets sent back")
        with topology["dut"].entered():
            answers = [valid(server.read(name)) for _ in range(3)]
        for answer in answers:
            assert answer["pid"] == forwarder.pid
            (queue,) = answer["queues"]
            assert queue["counters"]["rx_packets"] == queue["counters"]["tx_packets"] == 100
            (sock,) = queue["sockets"]
            assert sock["rings"] == {"rx": 0, "tx": 0, "fill": 2048, "completion": 0}
            assert sock["xdp_statistics"]["rx_dropped"] == 0
        with pytest.raises(InputError, match="no forwarder answers there"):
            server.read(name)  # from our own namespace, where the name is unknown

    def test_who_is_neither_root_nor_the_forwarder_s_user_gets_nothing(
        self, topology: Topology, forwarder: ForwarderProcess
    ) -> None:
        name = "\0" + forwarder.ready["process"]["stats_socket"][1:]
        with topology["dut"].entered(), socket.socket(socket.AF_UNIX) as client:
            # SO_PEERCRED is of the moment of connect(): only that is done as somebody else.
            os.seteuid(65534)
            try:
                client.connect(name)
            finally:
                os.seteuid(0)
            assert client.recv(1) == b""

    def test_a_reader_that_never_reads_holds_up_nobody(
        self, topology: Topology, forwarder: ForwarderProcess
    ) -> None:
        name = forwarder.ready["process"]["stats_socket"]
        with topology["dut"].entered():
            idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
            try:
                for client in idle:
                    client.connect("\0" + name[1:])
                assert server.read(name)["pid"] == forwarder.pid
            finally:
                for client in idle:
                    client.close()
        assert forwarder.stop()["frames"]["conserved"]

    @pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
    def test_nothing_of_it_is_left_however_it_ends(
        self, topology: Topology, forwarder: ForwarderProcess, ending: signal.Signals
    ) -> None:
        name = forwarder.ready["process"]["stats_socket"]
        os.kill(forwarder.pid, ending)
        forwarder.wait(5)
        assert name not in {address.name for address in running()}
        with topology["dut"].entered(), pytest.raises(InputError, match="no forwarder answers"):
            server.read(name)


@pytest.mark.system
class TestPath:
    """A path that is asked for."""

    def test_a_path_is_for_its_user_alone_and_goes_with_the_forwarder(
        self, topology: Topology, run_id: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "statistics"
        spec = ForwarderSpec("dut0", stats_socket=str(path), user="nobody")
        with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
            status = path.stat()
            assert stat.S_IMODE(status.st_mode) == 0o600
            assert status.st_uid == forwarder.ready["process"]["uid"] != 0
            assert valid(server.read(str(path)))["pid"] == forwarder.pid
            other = ForwarderSpec("lo", stats_socket=str(path))
            with pytest.raises(NotReadyError, match=r"--stats-socket .*: something is there, or a living"):
                ForwarderProcess(other, namespace=topology["dut"], run=run_id)
            assert server.read(str(path))["pid"] == forwarder.pid

        assert not path.exists()

    def test_a_killed_one_leaves_no_path_and_what_lies_there_is_replaced_only_if_dead(
        self, topology: Topology, run_id: str, tmp_path: Path, wait_until: WaitUntil
    ) -> None:
        path = tmp_path / "statistics"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        spec = ForwarderSpec("dut0", stats_socket=str(path))
        with ForwarderProcess(spec, namespace=topology["dut"], run=run_id) as forwarder:
            assert server.read(str(path))["pid"] == forwarder.pid
            forwarder.kill()
            wait_until(lambda: not path.exists(), "end of the path")
        path.write_text("mine")
        with pytest.raises(NotReadyError, match="something is there"):
            ForwarderProcess(spec, namespace=topology["dut"], run=run_id)
        assert path.read_text() == "mine"


@pytest.mark.lab
class TestJsonLines:
    """For programs."""

    @pytest.fixture
    def forwarder_spec(self) -> ForwarderSpec:
        return ForwarderSpec("dut0", action="echo", interval=0.05, json_lines=True)

    def test_each_line_is_an_object_of_the_schema_from_ready_to_report(
        self, forwarder: ForwarderProcess, send: Callable[[int], None]
    ) -> None:
        send(100)

        def lines() -> list[dict[str, Any]]:
            return [
                json.loads(line) for line in forwarder.stdout.splitlines(keepends=True) if line[-1] == "\n"
            ]

        def counted() -> int:
            intervals = [line for line in lines() if line["type"] == "interval"]
            return int(intervals[-1]["queues"][0]["counters"]["tx_packets"]) if intervals else 0

        forwarder.wait_for(lambda: counted() == 100, 5, "an interval with all packets")
        report = forwarder.stop()
        found = [valid(line) for line in lines()]
        kinds = [line["type"] for line in found]
        assert kinds == ["ready", *["interval"] * (len(kinds) - 2), "report"]
        assert {key: found[0][key] for key in forwarder.ready} == forwarder.ready
        assert {key: found[-1][key] for key in report} == report
        moved = sum(line["total"]["rx_pps"] * line["interval_s"] for line in found[1:-1])
        assert round(moved) == 100, "the intervals' rates sum up to what came"


@contextmanager
def on_a_terminal(command: Sequence[str], namespace: Any, fds: Sequence[int] = ()) -> Iterator[Any]:
    """A command on a terminal of 80 columns; gives a function that returns all that it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    output = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: the last writer is gone
                return
            output.extend(data)

    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with namespace.entered():
        process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, pass_fds=fds
        )
    os.close(slave)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, lambda: output.decode(errors="replace")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        os.close(master)


@pytest.mark.system
def test_a_terminal_gets_a_table_and_a_summary(
    topology: Topology,
    program: Any,
    attachment: object,
    send: Callable[[int], None],
    wait_until: WaitUntil,
) -> None:
    map_fd = program.map_fd("xsks_map")
    spec = ForwarderSpec("dut0", action="echo", interval=0.1, user="nobody")
    command = [sys.executable, "-m", "forwarder", *spec.to_argv(xskmap_fd=map_fd)]
    with on_a_terminal(command, topology["dut"], [map_fd]) as (process, written):
        wait_until(lambda: "rx pps" in written(), "the table")
        send(1000)
        wait_until(lambda: re.search(r"dut0 0 +[1-9]", written()), "a rate in it")
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        wait_until(lambda: "every one found" in written(), "the summary")
    text = written()
    assert "received 1,000, sent 1,000, dropped 0 in" in text
    assert "AF_XDP RX" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is shown again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80


@pytest.mark.system
def test_stats_finds_it_in_its_namespace_and_shows_its_table(
    topology: Topology,
    forwarder: ForwarderProcess,
    send: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    send(50)
    forwarder.wait_for(lambda: forwarder.counters()["tx_completed"] == 50, 5, "packets sent back")
    assert main(["stats", "--pid", str(forwarder.pid), "--over", "0.1"]) == 0
    text = capsys.readouterr().out
    assert f"pid {forwarder.pid}: echo on dut0, copy mode" in text
    assert "dut0 0" in text
    assert main(["stats", "--json", "--over", "0.1"]) == 0
    listed = json.loads(capsys.readouterr().out)["forwarders"]
    (ours,) = (each for each in listed if each["pid"] == forwarder.pid)
    assert ours["netns"] == topology["dut"].inode
    assert valid(ours)["queues"][0]["counters"]["rx_packets"] == 50
    forwarder.stop()
    assert main(["stats", "--pid", str(forwarder.pid)]) == 2
    assert capsys.readouterr().err == (
        f"xdplab: no forwarder with pid {forwarder.pid} answers: xdplab stats lists those that do\n"
    )


@pytest.mark.system
def test_watch_redraws_until_ctrl_c_and_leaves_the_last_table(
    topology: Topology, forwarder: ForwarderProcess, wait_until: WaitUntil
) -> None:
    command = [sys.executable, "-c", "from labs.harness.cli import main; raise SystemExit(main())", "stats"]
    command += ["--watch", "--over", "0.1", "--pid", str(forwarder.pid)]
    with on_a_terminal(command, topology["gen"]) as (process, written):
        wait_until(lambda: written().count(f"pid {forwarder.pid}: echo on dut0") >= 3, "a third table")
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        restored = "\x1b[?1049l"
        wait_until(lambda: "no errors" in written().partition(restored)[2], "the last table")
    assert "Traceback" not in written()
