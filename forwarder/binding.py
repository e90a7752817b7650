# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From a spec to memory and sockets: what each queue's loop works on, its own or a part of what all share."""

from __future__ import annotations

import contextlib
import errno
import time
from dataclasses import dataclass

from xdp.pyxdp import xsk
from xdp.pyxdp.errors import KernelError

from .socket import XskSocket
from .spec import ForwarderSpec
from .umem import Umem

REBIND_SECONDS = 1.0  # a queue whose socket was just closed is free only after an RCU grace period
REBIND_PAUSE = 0.005


@dataclass(frozen=True)
class Binding:
    """What one queue's loop has.

    Attributes:
        queue: the queue's number.
        umem: the memory, which other loops may use too.
        first: where this loop's frames begin in it, in bytes.
        frames: how many they are.
        sockets: the one on the interface, then those on the other interface and on the
            mirror, where there are any.
        retries: how often the bind was tried again because the queue was just being freed (EBUSY).
    """

    queue: int
    umem: Umem
    first: int
    frames: int
    sockets: tuple[XskSocket, ...]
    retries: int


def bind(spec: ForwarderSpec, queues: tuple[int, ...], undo: contextlib.ExitStack) -> list[Binding]:
    """Maps and registers one UMEM for these queues and binds their sockets; waits a little for a busy queue.

    Gives a binding for each queue of each interface of the spec (`also`), by interface first. Each has frames
    of its own, each of its sockets a fill and a completion ring.

    Args:
        spec: what is asked for.
        queues: the queues that share the UMEM.
        undo: where to put the undoing of all this.

    Raises:
        InputError: no such interface or queue.
        KernelError: the kernel refused UMEM or socket.
    """
    places = [(part, queue) for part in spec.each_interface() for queue in queues]
    with contextlib.ExitStack() as on_error:
        umem = Umem(spec.frames * len(places), spec.frame_size, hugepages=spec.hugepages)
        on_error.callback(umem.close)
        sockets, retries = _bind(places, umem, on_error)
        undo.push(on_error.pop_all())
    # Huge pages may hold more frames than were asked for.
    frames = umem.frames // len(places)
    each = len(sockets) // len(places)
    return [
        Binding(
            queue,
            umem,
            place * frames * spec.frame_size,
            frames,
            tuple(sockets[place * each : (place + 1) * each]),
            retries,
        )
        for place, (_, queue) in enumerate(places)
    ]


def _bind(
    places: list[tuple[ForwarderSpec, int]], umem: Umem, undo: contextlib.ExitStack
) -> tuple[list[XskSocket], int]:
    deadline = time.monotonic() + REBIND_SECONDS
    retries = 0
    while True:
        with contextlib.ExitStack() as attempt:
            try:
                sockets = _bind_once(places, umem, attempt)
            except KernelError as error:
                if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                    raise
            else:
                undo.push(attempt.pop_all())
                return sockets, retries
        retries += 1
        time.sleep(REBIND_PAUSE)


def _bind_once(
    places: list[tuple[ForwarderSpec, int]], umem: Umem, undo: contextlib.ExitStack
) -> list[XskSocket]:
    spec = places[0][0]  # the memory is the same for all
    # A UMEM is registered anew for each attempt: libxdp keeps a half-made first socket in it.
    registered = xsk.XskUmem(
        umem.address,
        umem.frames * umem.frame_size,
        frame_size=spec.frame_size,
        headroom=spec.headroom,
        fill_size=spec.fill_size,
        completion_size=spec.completion_size,
        flags=xsk.XDP_UMEM_UNALIGNED_CHUNK_FLAG if spec.unaligned else 0,
    )
    undo.callback(registered.close)
    sockets: list[XskSocket] = []
    for part, queue in places:
        for interface in filter(None, (part.interface, part.out, part.mirror)):
            socket = XskSocket(
                part, registered, interface, queue, shared=bool(sockets), page_size=umem.page_size
            )
            undo.callback(socket.close)
            sockets.append(socket)
    return sockets
