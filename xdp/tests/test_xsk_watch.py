# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout that Python believes in is the one that the watcher was compiled with; what an event means."""

from __future__ import annotations

import errno
from importlib import resources
from pathlib import Path

import pytest

from xdp.pyxdp.btf import Btf, Member
from xdp.xsk_watch import KINDS, Event, EventRecord


@pytest.fixture
def object_path(tmp_path: Path) -> Path:
    path = tmp_path / "xsk_watch.bpf.o"
    path.write_bytes((resources.files("xdp") / "objects" / path.name).read_bytes())
    return path


def test_an_event_has_the_members_of_the_header_at_their_offsets(object_path: Path) -> None:
    fields = [field[0] for field in EventRecord._fields_]
    own = {
        name: Member(getattr(EventRecord, name).offset, getattr(EventRecord, name).size) for name in fields
    }
    with Btf(object_path) as btf:
        assert list(btf.members("xsk_watch_event").items()) == list(own.items())


def test_the_kinds_are_those_of_the_header(object_path: Path) -> None:
    with Btf(object_path) as btf:
        numbers = btf.enumerators("xsk_watch_kind")
    assert {name.removeprefix("XSK_WATCH_").lower(): value for name, value in numbers.items()} == {
        kind: number for number, kind in enumerate(KINDS)
    }


@pytest.mark.parametrize(
    ("event", "device"),
    [
        (Event("redirect_err", 2, 7, map_id=0, index=3, error=errno.EOPNOTSUPP), (7, 3)),
        (Event("devmap_xmit", 2, 7, error=errno.ENXIO, to_ifindex=4, to_netns=8), (8, 4)),
        (Event("redirect_err", 2, 7, map_id=5, index=3, error=errno.EOPNOTSUPP), None),
        (Event("redirect_err", 2, 7, map_id=0, index=3, error=errno.EINVAL), None),
        (Event("devmap_xmit", 2, 7, index=1, to_ifindex=4, to_netns=8), None),
    ],
)
def test_a_device_that_takes_no_frames_is_named(event: Event, device: tuple[int, int] | None) -> None:
    assert event.refused_by == device
