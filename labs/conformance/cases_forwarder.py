# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Cases: a forwarder, of anybody's, loses nothing, and starts again after any end."""

from __future__ import annotations

import threading
import time

from labs.conformance.case import forwarder_case
from labs.conformance.forwarding import HEADERS, Forwarding
from labs.conformance.frames import sizes

MANY = 6000  # more than a forwarder of usual size has frames: one that leaks some stands still before


@forwarder_case(varies=())
def forward_in_order(env: Forwarding) -> None:
    """Packets of all sizes come back in order, byte for byte, each once."""
    assert env.process.running
    frames = env.datagrams(256, sizes(256))
    env.came_back(env.exchange(frames), frames)


@forwarder_case(varies=())
def forward_single(env: Forwarding) -> None:
    """A packet comes back without another that pushes it on, also after a pause."""
    assert env.process.running
    for number in range(5):
        frames = env.datagrams(1, first=number)
        env.came_back(env.exchange(frames), frames)
        time.sleep(0.01)  # the forwarder goes to sleep meanwhile


@forwarder_case(varies=())
def forward_burst(env: Forwarding) -> None:
    """A hundred packets at once come back whole and in order."""
    assert env.process.running
    frames = env.datagrams(100, 200)
    env.came_back(env.exchange(frames, window=100), frames)


@forwarder_case(varies=())
def forward_many(env: Forwarding) -> None:
    """More packets than it has frames come back: it gives each frame back."""
    assert env.process.running
    frames = env.datagrams(MANY)
    env.came_back(env.exchange(frames, window=64), frames)


@forwarder_case(varies=())
def forward_program_removed(env: Forwarding) -> None:
    """Without its program packets go to the stack; with it again they go through the forwarder as before."""
    assert env.process.running
    frames = env.datagrams(32)
    env.came_back(env.exchange(frames), frames)
    env.wire.detach()
    env.tap.send(frames)
    env.came_back(env.stack.receive(32), frames)
    assert env.process.running  # attaches the program
    env.came_back(env.exchange(frames), frames)


@forwarder_case(varies=())
def forward_killed(env: Forwarding) -> str:
    """SIGKILL in mid-traffic: a new forwarder on the same queue at once, which loses nothing."""
    assert env.process.running
    before = env.socket()
    stop = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            env.tap.send(env.datagrams(1, first=sent))
            sent += 1
            time.sleep(0.0005)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        env.tap.receive(50)
        began = time.monotonic()
        attempt = env.kill_and_replace()
        took = time.monotonic() - began
        assert len(env.tap.receive(50)) >= 50, "the new forwarder sends nothing back"
    finally:
        stop.set()
        sender.join()
    after = env.socket()
    assert after is not None
    assert before is not None
    assert after.inode != before.inode, "the killed forwarder's socket is still in the XSKMAP"
    frames = env.datagrams(128, sizes(128), first=1_000_000)
    got = env.exchange(frames)
    known = {one[HEADERS:] for one in frames}
    env.came_back([one for one in got if one[HEADERS:] in known], frames)
    return f"ready again after {took * 1000:.0f} ms, attempt {attempt}"
