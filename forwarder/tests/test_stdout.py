# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Lines come whole and in order; a reader that stops holds nobody up, one that goes away neither."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator

import pytest

from forwarder.stdout import Stdout

LINE = "x" * 5000  # more than poll() promises room for


@pytest.fixture
def pipe() -> Iterator[tuple[Stdout, io.FileIO]]:
    """A pipe as stdout, and the end that is read."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    with io.FileIO(read) as reader, io.FileIO(write, "w") as writer:
        yield Stdout(writer.fileno()), reader


def read_all(reader: io.FileIO) -> str:
    data = b""
    while chunk := reader.read(1 << 20):  # None where there is no more now
        data += chunk
    return data.decode()


def test_a_reader_that_stops_gets_whole_lines_and_a_gap(pipe: tuple[Stdout, io.FileIO]) -> None:
    stdout, reader = pipe
    taken = [number for number in range(100) if stdout.offer(f"{number} {LINE}")]
    assert 5 < len(taken) < 20, "a pipe holds 64 KiB"
    assert taken == list(range(len(taken))), "from the first that did not fit on, none"
    text = read_all(reader)
    assert stdout.offer(f"later {LINE}")
    assert stdout.insist("last", 1)
    text += read_all(reader)
    assert text.splitlines() == [*(f"{number} {LINE}" for number in taken), f"later {LINE}", "last"]


def test_the_last_line_is_waited_for_but_not_for_ever(pipe: tuple[Stdout, io.FileIO]) -> None:
    stdout, reader = pipe
    assert not all(stdout.offer(LINE) for _ in range(100))
    began = time.monotonic()
    assert not stdout.insist("last", 0.05)
    assert time.monotonic() - began >= 0.05
    read_all(reader)
    assert stdout.insist("", 0.05)


def test_a_reader_that_went_away_costs_nothing(pipe: tuple[Stdout, io.FileIO]) -> None:
    stdout, reader = pipe
    reader.close()
    assert stdout.offer("one")
    assert stdout.insist("two", 1)
