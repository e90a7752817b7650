# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How one process gives a bound AF_XDP socket to another: two descriptors, and the account of the frames.

The socket and the UMEM's memory go by SCM_RIGHTS; the indices of the rings are in the kernel's memory, where
the second process finds them. It must be told which frames the kernel has. The XSKMAP needs no change: it is
the same socket. As a program of its own this is that second process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labs.conformance.frames import same
from labs.conformance.memory import Memory, UmemSpec
from labs.conformance.mode import Mode
from labs.conformance.station import SocketSpec, Station
from xdp.pyxdp.xsk_adopted import AdoptedSocket


@dataclass(frozen=True)
class Will:
    """What the heir must know.

    Attributes:
        umem, spec, mode: how memory and socket were made.
        expected: the packets that are still to come.
        answer: the packets to send at the end.
        given: frames that the kernel has for reception.
    """

    umem: UmemSpec
    spec: SocketSpec
    mode: Mode
    expected: Sequence[bytes]
    answer: Sequence[bytes]
    given: Iterable[int]


@dataclass(frozen=True)
class Legacy:
    """What became of it: the digest of all bytes received, and what was wrong, or ""."""

    digest: str
    error: str

    @classmethod
    def read(cls, channel: socket.socket) -> Legacy:
        """From the heir."""
        with channel.makefile("r") as lines:
            return cls(**json.loads(lines.readline()))


def tell(channel: socket.socket, will: Will, station: Station) -> int:
    """Sends the will and both descriptors; returns how many packets wait in the RX ring meanwhile."""
    text = json.dumps(
        {
            "umem": dataclasses.asdict(will.umem),
            "spec": dataclasses.asdict(will.spec),
            "mode": dataclasses.asdict(will.mode),
            "expected": [one.hex() for one in will.expected],
            "answer": [one.hex() for one in will.answer],
            "given": sorted(will.given),
        }
    ).encode()
    waiting = station.rx.level
    socket.send_fds(channel, [len(text).to_bytes(4, "big")], [station.fd, station.memory.fd])
    channel.sendall(text)
    return waiting


def inherit(channel: socket.socket) -> Legacy:
    """The heir's part: takes both, receives what is still to come, sends the answer."""
    head, fds, _, _ = socket.recv_fds(channel, 4, 2)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += channel.recv(65536)
    will = json.loads(text)
    umem, spec = UmemSpec(**will["umem"]), SocketSpec(**will["spec"])
    expected, answer = ([bytes.fromhex(one) for one in will[key]] for key in ("expected", "answer"))
    with (
        Memory(umem, fds[1]) as memory,
        AdoptedSocket(
            fds[0],
            rx_size=spec.rx_size,
            tx_size=spec.tx_size,
            fill_size=umem.fill_size,
            completion_size=umem.completion_size,
        ) as adopted,
    ):
        memory.adopt((), will["given"])
        station = Station(adopted, memory, Mode(**will["mode"]), spec)
        try:
            packets = [packet.data for packet in station.receive(len(expected), seconds=5)]
            same(packets, expected, "the heir")
            station.send(answer)
            station.check()
            there = station.fill.level + station.rx.level
            held = len(memory.given) - there
            assert held == 0 or (held > 0 and station.mode.kind == "zerocopy"), (
                f"of {len(memory.given)} frames given for reception {there} are in the rings"
            )
            return Legacy(hashlib.sha256(b"".join(packets)).hexdigest(), "")
        except AssertionError as error:
            return Legacy("", str(error))
        finally:
            station.close()


def main() -> int:
    """The second process; its argument is the descriptor of the channel."""
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.sendall(b"!")
        legacy = inherit(channel)
        channel.sendall(json.dumps(dataclasses.asdict(legacy)).encode() + b"\n")
    return 0 if not legacy.error else 1


if __name__ == "__main__":
    sys.exit(main())
