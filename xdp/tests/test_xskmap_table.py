# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The table and the JSON, from values made up here."""

from __future__ import annotations

import dataclasses
import json

import pytest
from rich.console import Console

from xdp.xskmap import (
    NetNamespace,
    Owner,
    ProgramRef,
    RingLevel,
    Slot,
    SocketInfo,
    Statistics,
    Umem,
    XskMap,
)
from xdp.xskmap_table import runs, shortened, table, title

SOCKET = SocketInfo(
    inode=4711,
    state="bound",
    queue=0,
    ifindex=3,
    device="dut0",
    netns=NetNamespace(4026532177, 616, "xl-demo-dut"),
    zero_copy=False,
    multi_buffer=False,
    uses_need_wakeup=True,
    rx=RingLevel(2048, 12, 2, 0, False),
    tx=None,
    fill=RingLevel(4096, 5000, 1000, 3, True),
    completion=RingLevel(4096, 0, 0, 0, False),
    pool_free=1,
    pool_users=1,
    umem=Umem(0, 16 << 20, 4096, 0, 4096, 1, False),
    statistics=Statistics(0, 77, 0, 0, 0, 0),
    owners=(
        Owner(99, "python3", "python3 -m forwarder -i dut0 --action echo --queue 0 --batch 64 --interval 1"),
    ),
)


def made(*slots: Slot, method: str = "btf", note: str = "") -> XskMap:
    filled = {slot.index: slot for slot in slots}
    every = tuple(filled.get(i, Slot(i, False)) for i in range(64))
    return XskMap(7, "xsks_map", 64, method, note, (ProgramRef(5, "redirect_udp"),), every)


def drawn(xskmap: XskMap, width: int = 100, *, only_occupied: bool = False) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table([xskmap], only_occupied=only_occupied))
    return capture.get()


def test_the_title_says_which_map_how_full_and_who_uses_it() -> None:
    assert title(made(Slot(0, True, SOCKET))) == (
        "XSKMAP 7 xsks_map: 1 of 64 slots occupied, used by program 5 redirect_udp"
    )


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_its_width_and_loses_no_number(width: int) -> None:
    text = drawn(made(Slot(0, True, SOCKET)), width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("10/2048", "4000/4096", "16 MiB, 4096 x 4096 B", "RX ring full 77", "socket:[4711]"):
        assert part in text
    for part in ("dut0 queue 0", "xl-demo-dut", "pid 99", "1-63", "wakeup"):
        assert part in text


def test_what_is_lost_is_shown_only_if_something_is() -> None:
    fine = dataclasses.replace(SOCKET, statistics=Statistics(0, 0, 0, 0, 0, 0))
    assert "lost nothing" in drawn(made(Slot(0, True, fine)))
    assert "nothing" not in drawn(made(Slot(0, True, SOCKET)))


def test_unknown_members_are_drawn_too() -> None:
    bare = dataclasses.replace(
        SOCKET,
        device=None,
        rx=None,
        fill=None,
        completion=None,
        umem=None,
        pool_free=None,
        owners=(),
        state="ready",
        statistics=Statistics(0, None, None, None, None, None),
    )
    text = drawn(made(Slot(0, True, bare)))
    for part in ("no device queue 0", "ready", "no process found", "no UMEM", "none"):
        assert part in text


def test_a_level_beyond_the_ring_is_marked_as_wrong() -> None:
    spoiled = dataclasses.replace(SOCKET, fill=RingLevel(64, 1000, 0, 0, False))
    assert "1000/64 wrong" in drawn(made(Slot(0, True, spoiled)))


def test_only_occupied_slots_leaves_the_empty_ones_out() -> None:
    assert "empty" not in drawn(made(Slot(0, True, SOCKET)), only_occupied=True)


def test_a_probe_is_labelled_with_its_reason() -> None:
    text = drawn(made(Slot(4, True), method="probe", note="no BTF"))
    assert "only occupancy is known (no BTF)" in text
    assert "occupied" in text


def test_stretches_of_equal_slots_are_one_line_but_each_socket_has_its_own() -> None:
    slots = made(Slot(3, True, SOCKET), Slot(4, True, SOCKET), Slot(63, True)).slots
    assert list(runs(slots)) == [(0, 2), (3, 3), (4, 4), (5, 62), (63, 63)]
    assert list(runs(())) == []


def test_a_command_line_is_cut_in_the_middle_and_cannot_move_the_cursor() -> None:
    assert shortened("short", 10) == "short"
    assert shortened("abcdefghijkl", 7) == "abcdef…"
    assert shortened("/usr/bin/python3 -m forwarder -i dut0 --fd 7", 30) == "python3 -m forwarder -i dut0 …"
    assert shortened("/bin/python -S /a/b/forwarder/__main__.py -i dut0 /x/y", 60) == (
        "python -S forwarder/__main__.py -i dut0 /x/y"
    )
    assert shortened("a\x1b[2Jb\nc", 20) == "a?[2Jb?c"


def test_markup_in_a_foreign_name_stays_text() -> None:
    odd = dataclasses.replace(SOCKET, device="[red]x", owners=(Owner(1, "x", "[bold]cmd[/bold]"),))
    text = drawn(made(Slot(0, True, odd)))
    assert "[red]x queue 0" in text
    assert "[bold]cmd[/bold]" in text


def test_json_holds_all_attributes_and_the_levels() -> None:
    data = json.loads(json.dumps(made(Slot(1, True, SOCKET)).as_dict()))
    assert [slot["index"] for slot in data["slots"]] == list(range(64))
    assert data["slots"][0] == {"index": 0, "occupied": False, "socket": None}
    found = data["slots"][1]["socket"]
    assert set(found) == {field.name for field in dataclasses.fields(SocketInfo)}
    assert (found["rx"]["level"], found["tx"], found["fill"]["level"]) == (10, None, 4000)
    assert found["netns"] == {"inode": 4026532177, "cookie": 616, "name": "xl-demo-dut"}
    assert data["programs"] == [{"id": 5, "name": "redirect_udp"}]
    assert [slot["index"] for slot in made(Slot(1, True, SOCKET)).as_dict(only_occupied=True)["slots"]] == [1]
