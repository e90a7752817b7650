# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The pcapng file: its head says what others read, and what cannot be written is one clear line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import PcapNgReader

from forwarder import _batch
from forwarder.pcapng import PcapngSink
from forwarder.spec import ForwarderSpec
from xdp.pyxdp.errors import InputError


def spec(path: Path | str, **changes: Any) -> ForwarderSpec:
    return ForwarderSpec("dut0", pcapng=str(path), **changes)


def test_head_names_each_interface_and_queue(tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    with PcapngSink(spec(path, queues=(0, 3), out="dut1", both_ways=True, pcapng_snap=96)) as sink:
        sink.start()
        assert len(sink.captures) == 2
        assert sink.finish() == {"file": str(path), "bytes": path.stat().st_size, "error": ""}
    data = path.read_bytes()
    names = [b"dut0 queue 0", b"dut1 queue 0", b"dut0 queue 3", b"dut1 queue 3"]
    places = [data.find(name) for name in names]
    assert -1 not in places
    assert places == sorted(places)
    with PcapNgReader(str(path)) as reader:
        assert list(reader) == []
    sink.close()


def test_head_has_an_entry_for_each_queue_of_further_interfaces(tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    with PcapngSink(spec(path, queues=(0, 3), also=("dut1",))) as sink:
        assert len(sink.captures) == 4
    places = [path.read_bytes().find(f"dut{n} queue {q}".encode()) for n in (0, 1) for q in (0, 3)]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/nowhere/f", "--pcapng /nowhere/f: No such file or directory"), ("/", "--pcapng /: Is a directory")],
)
def test_file_that_cannot_be_written_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PcapngSink(spec(path))


@pytest.mark.parametrize("size", [0, 1 << 17, (1 << 18) + 1])
def test_ring_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two of at least 262144"):
        _batch.Capture(size, 0)


def test_snap_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="snap must be 1 to 65535"):
        _batch.Capture(1 << 18, 0, snap=0)


def test_empty_ring_writes_nothing() -> None:
    read, write = os.pipe()
    try:
        assert _batch.Capture(1 << 18, 0).write(write) == 0
    finally:
        os.close(read)
        os.close(write)
