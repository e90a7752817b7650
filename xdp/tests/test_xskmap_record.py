# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout that Python believes in is the one that the BPF programs were compiled with."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from xdp.pyxdp.btf import Btf, Member
from xdp.xskmap_record import READ_SOCKETS, SCAN_SLOTS, EntryRecord, Present, Record, RingRecord, decode


def object_path(name: str, folder: Path) -> Path:
    path = folder / f"{name}.bpf.o"
    path.write_bytes((resources.files("xdp") / "objects" / path.name).read_bytes())
    return path


@pytest.fixture
def btf(tmp_path: Path) -> Iterator[Btf]:
    with Btf(object_path("xsk_reader", tmp_path)) as found:
        yield found


def members(struct: type[ctypes.Structure]) -> dict[str, Member]:
    fields = [field[0] for field in struct._fields_]
    return {name: Member(getattr(struct, name).offset, getattr(struct, name).size) for name in fields}


@pytest.mark.parametrize(
    ("name", "struct"),
    [("xsk_record", Record), ("xsk_ring_record", RingRecord), ("xsk_entry_record", EntryRecord)],
)
def test_a_record_has_the_members_of_the_header_at_their_offsets(
    btf: Btf, name: str, struct: type[ctypes.Structure]
) -> None:
    assert list(btf.members(name).items()) == list(members(struct).items())


def test_the_presence_bits_are_those_of_the_header(btf: Btf) -> None:
    names = {name.removeprefix("XSK_HAS_"): bit for name, bit in btf.enumerators("xsk_present").items()}
    assert names == {bit.name: bit.value for bit in Present}


def test_the_arrays_are_as_long_as_the_header_says(tmp_path: Path, btf: Btf) -> None:
    assert btf.variables(".bss")["records"].size == READ_SOCKETS * ctypes.sizeof(Record)
    assert btf.variables(".bss")["read_slots"].size == READ_SOCKETS * 4
    for name in ("xsk_reader", "xsk_probe"):
        with Btf(object_path(name, tmp_path)) as each:
            assert each.variables(".bss")["occupied"].size == SCAN_SLOTS


def test_what_the_kernel_lacks_is_none_and_not_zero() -> None:
    socket = decode(Record(occupied=1, present=0, rx_dropped=3))
    assert (socket.device, socket.ifindex, socket.netns.cookie, socket.multi_buffer) == (None,) * 4
    assert (socket.rx, socket.fill, socket.umem, socket.pool_free, socket.uses_need_wakeup) == (None,) * 5
    assert socket.statistics.rx_dropped == 3
    assert socket.statistics.rx_ring_full is None
    assert socket.entries is None


def test_a_level_counts_across_the_end_of_the_index() -> None:
    ring = RingRecord(size=64, producer=2, consumer=2**32 - 2, cached_producer=4, cached_consumer=1, flags=1)
    socket = decode(Record(occupied=1, rx=ring, tx=ring))
    assert socket.rx is not None
    assert socket.tx is not None
    assert (socket.rx.level, socket.rx.unpublished, socket.rx.need_wakeup) == (4, 2, True)
    assert socket.tx.unpublished == 3
