# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What these labs share: a sender of numbered frames, and a check of a report's books."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labs.harness.patience import patient
from labs.harness.topology import Topology

ETH_P_ALL = 3  # linux/if_ether.h
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23  # linux/socket.h, linux/if_packet.h
HEADERS = bytes.fromhex(
    "0200c0a80114 0200c0a8010a 0800"
    "4500002e00000000 4011 0000 c0a8010a c0a80114"  # checksum 0: no stack ever looks at it
    "9c40 1092 001a 0000"
)


def _sent(raw: socket.socket, frame: bytes) -> None:
    """Sends a frame, again if it was refused: softirqs that empty a full veth (256 frames) may wait."""
    deadline = time.monotonic() + patient(5)
    while True:
        try:
            raw.send(frame)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                raise
            os.sched_yield()


@pytest.fixture
def send(topology: Topology) -> Iterator[Callable[..., None]]:
    """Sends UDP frames to port 4242 out of gen0, each with its number behind the headers."""
    with topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("gen0", 0))

        def frames(count: int) -> None:
            for number in range(count):
                _sent(raw, HEADERS + struct.pack(">I", number) + b"." * 14)

        yield frames


@pytest.fixture
def wire(topology: Topology) -> Iterator[Callable[[str, str], socket.socket]]:
    """A packet socket on a device: `wire("gen", "gen0")`; it does not see what it sends itself."""
    with ExitStack() as undo:

        def opened(role: str, device: str) -> socket.socket:
            raw = undo.enter_context(topology[role].socket(socket.AF_PACKET, socket.SOCK_RAW))
            raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            raw.bind((device, ETH_P_ALL))
            raw.settimeout(2)
            return raw

        yield opened


def datagram(size: int, number: int) -> bytes:
    """A frame of `size` bytes whose lengths are right and whose payload is its own."""
    frame = bytearray(HEADERS.ljust(size, b"."))
    frame[16:18] = (size - 14).to_bytes(2, "big")
    frame[38:40] = (size - 34).to_bytes(2, "big")
    frame[42:] = bytes((number + at // 256 + at) & 255 for at in range(size - 42))
    return bytes(frame)


def check_books(report: dict[str, Any]) -> dict[str, int]:
    """Every packet has one fate, every frame one place; returns the counters."""
    counters: dict[str, int] = report["counters"]
    fates = (
        "dropped", "not_matched", "tx_ring_full", "callback_failed", "tx_packets",
        "host_packets", "host_full", "host_refused",
    )  # fmt: skip
    assert counters["rx_packets"] == sum(counters[fate] for fate in fates)
    frames = report["frames"]
    assert frames["conserved"], frames
    places = ("pool", "fill", "rx", "tx", "completion", "kernel_receive", "kernel_transmit")
    assert frames["frames"] == sum(frames[place] for place in places)
    held = sum(frames[place] for place in ("tx", "completion", "kernel_transmit"))
    sent, completed = (
        counters[f"tx_{what}"] + counters[f"mirror_{what}"] for what in ("packets", "completed")
    )
    assert sent == completed + held
    assert counters["owner_violations"] == 0
    return counters


def statuses(pid: int) -> list[dict[str, str]]:
    """/proc's word on each thread of a process."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        lines = (line.partition(":") for line in (thread / "status").read_text().splitlines())
        found.append({key: value.strip() for key, _, value in lines})
    return found


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object], str], None]:
    """Waits for what a process that is not `Process`'s does."""

    def wait(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"no {what}"
            time.sleep(0.005)

    return wait
