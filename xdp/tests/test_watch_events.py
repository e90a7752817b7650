# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What an event means: where it happened, whether frames ended there, which device took none, and why."""

from __future__ import annotations

import errno

import pytest

from xdp import watch_names
from xdp.watch_events import Event
from xdp.watch_names import reason


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


@pytest.mark.parametrize(
    ("event", "dropped", "place"),
    [
        (Event("redirect", 2, 7), False, (7, 2)),
        (Event("redirect_err", 2, 7, error=errno.ENOMEM), True, (7, 2)),
        (Event("skb", 0, 7), True, (7, 0)),
        (Event("exception", 2, 7), True, (7, 2)),
        (Event("devmap_xmit", 2, 7, index=1, to_ifindex=4, to_netns=8), False, (8, 4)),
        (Event("devmap_xmit", 2, 7, index=0, to_ifindex=4, to_netns=8), True, (8, 4)),
    ],
)
def test_a_drop_is_told_from_a_success_and_where_it_happened(
    event: Event, dropped: bool, place: tuple[int, int]
) -> None:
    assert (event.is_drop, event.place) == (dropped, place)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Event("redirect_err", 2, 7, error=errno.ENOBUFS), "ENOBUFS"),
        (Event("redirect_err", 2, 7, error=4000), "4000"),
        (Event("devmap_xmit", 2, 7), "FULL"),
        (Event("exception", 2, 7, index=0), "XDP_ABORTED"),
        (Event("exception", 2, 7, index=77), "ACTION_77"),
    ],
)
def test_a_drop_has_a_reason_by_name(event: Event, name: str) -> None:
    assert reason(event) == name


def test_a_kernel_that_gives_no_reason_is_told_from_one_that_has_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_names, "of_kernel", lambda: ({}, {}))
    assert reason(Event("skb", 2, 7)) == watch_names.UNSAID == watch_names.known("NO_SOCKET")
    assert reason(Event("skb", 2, 7, index=77)) == "REASON_77"
