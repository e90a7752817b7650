# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which socket is in which slot: exactly the one that was put there, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from labs.xskmap.station import Station, until
from xdp.pyxdp import InputError, KernelError, kernel, maps
from xdp.pyxdp.bpf import BpfObject
from xdp.xskmap import Reader, SocketInfo, XskMap, read_xskmap

pytestmark = pytest.mark.lab
AF_XDP = 44  # linux/socket.h
SO_NETNS_COOKIE = 71  # asm-generic/socket.h


def only_socket(xskmap: XskMap, slot: int = 0) -> SocketInfo:
    """The socket in this slot, when all other slots are empty."""
    assert [each.index for each in xskmap.occupied] == [slot]
    found = xskmap.slots[slot].socket
    assert found is not None
    return found


def test_slot_0_holds_exactly_our_socket_and_all_others_are_empty(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    xskmap = read_xskmap(fd=station.map_fd)
    found = only_socket(xskmap)

    assert (xskmap.id, xskmap.name, xskmap.max_entries, xskmap.method) == (
        station.map_id,
        "xsks_map",
        64,
        "btf",
    )
    assert [slot.index for slot in xskmap.slots] == list(range(64))
    assert found.inode == own.inode
    assert [owner.pid for owner in found.owners] == [os.getpid()]
    assert (found.device, found.queue, found.state) == ("dut0", 0, "bound")
    assert found.ifindex == station.dut.interface_index("dut0")
    assert found.netns.inode == station.dut.inode
    assert (found.zero_copy, found.uses_need_wakeup) == (False, True)
    assert [(program.id, program.name) for program in xskmap.programs] == [
        (station.program.id, "redirect_queue")
    ]


def test_the_namespace_is_known_by_name_and_by_cookie(station: Station) -> None:
    station.put(0, station.open_socket().fd)
    unnamed = only_socket(read_xskmap(map_id=station.map_id)).netns
    assert unnamed.name == f"net:[{station.dut.inode}]"
    name = station.dut.pin().name
    with station.dut.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        try:
            cookie = struct.unpack("=Q", inside.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            pytest.skip("this kernel tells no namespace's cookie (SO_NETNS_COOKIE, Linux 5.14)")
    named = only_socket(read_xskmap(map_id=station.map_id)).netns
    assert (named.name, named.cookie) == (name, cookie)


def test_an_empty_map_is_empty(station: Station) -> None:
    for method in ("btf", "probe"):
        xskmap = read_xskmap(fd=station.map_fd, method=method)
        assert (len(xskmap.slots), xskmap.occupied) == (64, ())


def test_a_removed_entry_is_gone_and_back_when_put_back(station: Station) -> None:
    own = station.open_socket()
    with Reader(fd=station.map_fd) as reader:
        for _ in range(3):
            station.put(0, own.fd)
            assert only_socket(reader.read()).inode == own.inode
            station.remove(0)
            assert reader.read().occupied == ()


def test_a_closed_socket_leaves_its_slot(station: Station) -> None:
    own = station.open_socket()
    station.put(5, own.fd)
    with Reader(fd=station.map_fd) as reader:
        assert only_socket(reader.read(), 5).inode == own.inode
        own.close()
        assert reader.read().occupied == ()


def test_two_queues_hold_two_sockets_with_umems_of_their_own() -> None:
    with Station(queues=2) as station:
        first, second = station.open_socket(0), station.open_socket(1, headroom=64)
        station.put(0, first.fd)
        station.put(1, second.fd)
        inodes = [first.inode, second.inode]
        found = read_xskmap(fd=station.map_fd).sockets
    assert {slot: (each.queue, each.inode) for slot, each in found.items()} == {
        0: (0, inodes[0]),
        1: (1, inodes[1]),
    }
    assert [each.umem.headroom for each in found.values() if each.umem] == [0, 64]


def test_sockets_that_share_a_umem_say_so() -> None:
    with Station(queues=2) as station:
        first = station.open_socket(0)
        station.put(0, first.fd)
        station.put(1, station.open_shared_socket(1, first).fd)
        found = read_xskmap(fd=station.map_fd).sockets
        alone, second = found[0].umem, found[1].umem
    assert alone is not None
    assert alone == second
    assert alone.users == 2
    assert (found[0].pool_users, found[1].pool_users) == (1, 1)


def test_both_methods_agree_on_occupied_slots_across_many_scans() -> None:
    chosen = [*sorted(random.Random(1).sample(range(999), 40)), 999]  # noqa: S311 (a pattern, no secret)
    with Station(entries=1000) as station:
        own = station.open_socket()
        for slot in chosen:
            station.put(slot, own.fd)
        by_btf = read_xskmap(fd=station.map_fd, method="btf")
        by_probe = read_xskmap(fd=station.map_fd, method="probe")
        assert {each.inode for each in by_btf.sockets.values()} == {own.inode}
    assert [slot.index for slot in by_btf.occupied] == chosen
    assert [slot.index for slot in by_probe.occupied] == chosen
    assert list(by_btf.sockets) == chosen
    assert (by_probe.method, by_probe.sockets) == ("probe", {})


def test_a_socket_that_is_not_bound_yet_has_no_device_and_no_pool(station: Station) -> None:
    with station.dut.socket(AF_XDP, socket.SOCK_RAW) as raw:
        try:
            station.put(0, raw.fileno())
        except KernelError as error:
            if error.errno != errno.ENOBUFS:
                raise
            pytest.skip("this kernel takes no socket into an XSKMAP that is not bound (seen on Linux 7.3)")
        found = only_socket(read_xskmap(fd=station.map_fd))
        assert found.inode == os.fstat(raw.fileno()).st_ino
    assert (found.state, found.device, found.ifindex, found.umem) == ("ready", None, None, None)
    assert (found.rx, found.tx, found.fill, found.completion, found.pool_free) == (None,) * 5


def test_a_socket_whose_device_went_away_is_unbound_and_its_device_is_not_looked_at(
    station: Station,
) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    with Reader(fd=station.map_fd) as reader:
        assert only_socket(reader.read()).device == "dut0"
        station.topology.pairs[0].close()
        found = only_socket(until(reader.read, lambda m: m.sockets[0].state != "bound", "unbound socket"))
    assert (found.state, found.device, found.ifindex, found.inode) == ("unbound", None, None, own.inode)


def test_a_slot_that_turns_empty_between_scan_and_read_is_empty(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan_then_remove(reader: Reader) -> list[int]:
        found = scan(reader)
        station.remove(0)
        return found

    own = station.open_socket()
    for slot in (0, 1):
        station.put(slot, own.fd)
    scan = Reader._scan
    monkeypatch.setattr(Reader, "_scan", scan_then_remove)
    assert only_socket(read_xskmap(fd=station.map_fd), 1).inode == own.inode


def test_a_map_of_another_type_is_named_with_its_type() -> None:
    fd = maps.create(kernel.MapType.HASH, "ordinary", 4, 4, 8)
    try:
        with pytest.raises(InputError, match=r"\(ordinary\) is of type HASH, no XSKMAP; .*xskmap --all"):
            read_xskmap(fd=fd)
    finally:
        os.close(fd)


def test_an_id_without_a_map_and_a_descriptor_without_a_map_are_bad_input() -> None:
    with pytest.raises(InputError, match="no BPF map with id 4294967295"):
        read_xskmap(map_id=2**32 - 1)
    with open(os.devnull) as file, pytest.raises(InputError, match="is no BPF map"):  # noqa: PTH123 (an fd)
        read_xskmap(fd=file.fileno())


def test_a_closed_reader_lets_go_of_the_map_and_says_that_it_is_closed() -> None:
    fd = maps.create(kernel.MapType.XSKMAP, "alone", 4, 4, 8)
    number = kernel.map_info(fd).id
    reader = Reader(fd=fd)
    reader.read()
    os.close(fd)
    assert number in kernel.map_ids()
    assert "bpf-map" in Path("/proc/self/maps").read_text()
    reader.close()
    reader.close()
    assert "bpf-map" not in Path("/proc/self/maps").read_text()
    until(lambda: list(kernel.map_ids()), lambda ids: number not in ids, f"end of map {number}")
    with pytest.raises(InputError, match="closed"):
        reader.read()


def test_a_reader_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, station: Station) -> None:
    monkeypatch.setattr("xdp.xskmap.map_memory", lambda _: 1 / 0)
    for method in ("btf", "probe"):
        with pytest.raises(ZeroDivisionError):
            Reader(fd=station.map_fd, method=method)


def test_where_the_btf_reader_does_not_load_the_probe_steps_in_and_says_why(
    monkeypatch: pytest.MonkeyPatch, station: Station
) -> None:
    def refused(self: BpfObject) -> None:
        if self.name == "xsk_reader":
            raise KernelError("load BPF object", self.name, errno.EINVAL)
        load(self)

    load = BpfObject.load
    station.put(3, station.open_socket().fd)
    monkeypatch.setattr(BpfObject, "load", refused)
    xskmap = read_xskmap(fd=station.map_fd)
    assert (xskmap.method, [slot.index for slot in xskmap.occupied], xskmap.sockets) == ("probe", [3], {})
    assert "load BPF object (xsk_reader)" in xskmap.note
    with pytest.raises(KernelError, match="xsk_reader"):
        read_xskmap(fd=station.map_fd, method="btf")


def test_owners_are_all_the_processes_that_hold_the_socket(station: Station) -> None:
    own = station.open_socket()
    station.put(0, own.fd)
    with subprocess.Popen(["sleep", "60"], pass_fds=[own.fd]) as heir:
        try:
            found = only_socket(read_xskmap(fd=station.map_fd))
        finally:
            heir.kill()
    assert {owner.pid: owner.name for owner in found.owners}[heir.pid] == "sleep"
    assert {owner.pid for owner in found.owners} == {os.getpid(), heir.pid}
    assert "sleep 60" in [owner.command for owner in found.owners]
