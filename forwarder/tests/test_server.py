# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The statistics socket: one JSON object to each who asks, nothing to strangers, nothing left."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forwarder import server
from forwarder.server import StatsServer
from xdp.pyxdp.errors import InputError


def take() -> dict[str, Any]:
    return {"type": "snapshot", "pid": 1, "queues": []}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@pytest.fixture
def running() -> Iterator[StatsServer]:
    """One with an abstract name."""
    made = StatsServer("auto", os.geteuid())
    made.start(take)
    yield made
    made.close()
    made.close()


def test_each_reader_gets_one_object_and_the_end(running: StatsServer) -> None:
    assert running.address == f"@xdplab/forward/{os.getpid()}"
    for _ in range(3):
        # The pid is the kernel's word, not the answer's.
        assert server.read(running.address) == {**take(), "pid": os.getpid()}


def test_many_readers_at_once_are_all_answered(running: StatsServer) -> None:
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.read(running.address))) for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 30


def test_a_name_that_is_taken_gets_a_number(running: StatsServer) -> None:
    second = StatsServer("auto", os.geteuid())
    try:
        assert second.address == f"{running.address}.1"
    finally:
        second.close()


def test_an_abstract_name_is_gone_with_its_server() -> None:
    made = StatsServer("auto", os.geteuid())
    made.start(take)
    address = made.address
    made.close()
    with pytest.raises(InputError, match="no forwarder answers there"):
        server.read(address)


def test_stop_ends_the_thread_and_take_is_called_no_more(running: StatsServer) -> None:
    before = threading.active_count()
    running.stop()
    running.stop()
    assert threading.active_count() == before - 1


def test_a_path_is_private_and_removed(path: str) -> None:
    mask = os.umask(0)
    try:
        made = StatsServer(path, os.geteuid())
    finally:
        os.umask(mask)
    made.start(take)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert server.read(path)["type"] == "snapshot"
    made.close()
    assert not os.path.lexists(path)


def test_a_path_of_somebody_else_by_now_is_left(path: str) -> None:
    made = StatsServer(path, os.geteuid())
    Path(path).unlink()
    Path(path).write_text("theirs")
    made.close()
    assert Path(path).read_text() == "theirs"


def test_a_path_that_is_in_use_is_refused_and_an_abandoned_one_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    first = StatsServer(path, os.geteuid())
    try:
        with pytest.raises(InputError, match="a living forwarder uses it"):
            StatsServer(path, os.geteuid())
        assert os.path.lexists(path)
    finally:
        first.close()


@pytest.mark.parametrize(
    ("where", "message"),
    [("/nowhere/socket", "No such file or directory"), ("/" + "x" * 200, "path too long")],
)
def test_a_path_that_cannot_be_is_one_line(where: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--stats-socket .*{message}"):
        StatsServer(where, os.geteuid())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "answers only root and its own user"),
        (b"hello\n", "what answers there is no forwarder"),
        (b"[1]\n", "what answers there is no forwarder"),
        (b'{"type": "else"}\n', "what answers there is no forwarder"),
        (b"{" * (server.SIZE_MAX + 10), "what answers there is no forwarder"),
    ],
    ids=["nothing", "text", "list", "type", "flood"],
)
def test_what_is_no_forwarder_is_told_so(path: str, answer: bytes, message: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                try:
                    client.sendall(answer)
                except BrokenPipeError:  # the reader has seen enough
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(InputError, match=message):
            server.read(path)
        thread.join()
