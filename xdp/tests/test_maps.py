# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Maps behave as dicts of integers, and say what they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from xdp.maps import TypedMap, map_memory
from xdp.pyxdp import InputError, kernel, maps
from xdp.pyxdp.kernel import MapType

pytestmark = pytest.mark.system


@pytest.fixture
def hash_fd() -> Iterator[int]:
    fd = maps.create(MapType.HASH, "h", 4, 8, 4)
    yield fd
    os.close(fd)


@pytest.fixture
def per_cpu_fd() -> Iterator[int]:
    fd = maps.create(MapType.PERCPU_ARRAY, "p", 4, 8, 1)
    yield fd
    os.close(fd)


def test_a_hash_map_is_a_dict(hash_fd: int) -> None:
    table = TypedMap(hash_fd)
    table[1], table[2] = 10, 20
    assert dict(table) == {1: 10, 2: 20}
    del table[1]
    assert 1 not in table
    with pytest.raises(KeyError):
        del table[1]


def test_keys_and_values_that_do_not_fit_are_refused(hash_fd: int) -> None:
    table = TypedMap(hash_fd)
    with pytest.raises(InputError, match="does not fit the 4-byte key"):
        table[1 << 32] = 1
    with pytest.raises(InputError, match="does not fit the value"):
        table[1] = -1
    with pytest.raises(InputError, match="cannot be mapped: declare it"):
        map_memory(hash_fd)


def test_per_cpu_values_are_summed(per_cpu_fd: int) -> None:
    cpus = kernel.possible_cpus()
    raw = b"".join((cpu + 1).to_bytes(8, "little") for cpu in range(cpus))
    maps.update(per_cpu_fd, kernel.map_info(per_cpu_fd), b"\0" * 4, raw)
    table = TypedMap(per_cpu_fd)
    assert table.per_cpu(0) == list(range(1, cpus + 1))
    assert table[0] == sum(range(1, cpus + 1))
    table[0] = 7
    assert table[0] == 7


def test_an_fd_that_is_no_map_is_refused() -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(InputError, match=r"fd \d+ is no BPF map \(pipe"):
            TypedMap(read)
    finally:
        os.close(read)
        os.close(write)


def test_an_id_that_does_not_exist_is_refused() -> None:
    with (
        pytest.raises(InputError, match="there is no BPF map with id 4000000000"),
        kernel.map_by_id(4000000000),
    ):
        pass
