# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A fill ring that nobody kicks: only a driver with zero-copy waits for that, so only here it can be seen."""

from __future__ import annotations

import errno
import select
from collections.abc import Iterator

import pytest

from labs.harness.topology import TopologySpec
from labs.why.scene import OURS, Scene
from labs.xskmap.station import until
from xdp.pyxdp import xsk
from xdp.pyxdp.errors import KernelError

pytestmark = [pytest.mark.lab, pytest.mark.guest]
FRAMES = 100


@pytest.fixture
def scene(zero_copy: TopologySpec) -> Iterator[Scene]:
    """The cards, without anything on them."""
    with Scene(zero_copy) as made:
        yield made


def test_why_names_the_fill_ring_that_is_never_kicked(scene: Scene) -> None:
    program = scene.attach()
    try:
        socket = scene.own_socket(binding=xsk.XDP_ZEROCOPY)
    except KernelError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip(f"zero-copy is refused on this kernel and card: {error}")
    scene.put(program, 0, socket.fd)
    # The driver looked for frames at the bind, found none, and asked to be woken once there are some.
    socket.fill(FRAMES)
    scene.frames(OURS)
    found = scene.ask()
    assert found.name == "fill_not_kicked"
    assert "recvfrom() or poll()" in found.remedy
    # What it tells to do is what helps.
    poll = select.poll()
    poll.register(socket.fd, select.POLLIN)
    until(lambda: bool(poll.poll(0)) and socket.socket.rx.producer[0], bool, "packet after the kick")
