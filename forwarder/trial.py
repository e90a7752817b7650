# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A user's function on trial: packets in, verdicts and packets out, without a network or a privilege.

verdict, after = ask(decide, bytes(Ether() / IP() / UDP()))  # a verdict function
packets, frames = as_batch([bytes(one) for one in mine])     # a batch function
verdicts = decide(packets, frames)
after = as_bytes(packets, frames)
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _batch
from .verdict import VERDICT_TYPE, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_SIZE = 2048
DESCRIPTOR = [("addr", "<i8"), ("len", "<u4"), ("options", "<u4")]
UNTOUCHED = 0xEE  # what lies around the packets


def as_batch(packets: Sequence[bytes], offset: int = 256) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    """Descriptors and frames as a batch function gets them, a packet a frame.

    Args:
        packets: at most 2,048 bytes each, less the offset.
        offset: of each packet in its frame.
    """
    frames = np.full((len(packets), FRAME_SIZE), UNTOUCHED, dtype=np.uint8)
    descriptors = np.zeros(len(packets), dtype=DESCRIPTOR)
    for row, packet in enumerate(packets):
        frames[row, offset : offset + len(packet)] = np.frombuffer(packet, dtype=np.uint8)
        descriptors[row] = (row * FRAME_SIZE + offset, len(packet), 0)
    return descriptors, frames


def as_bytes(packets: NDArray[np.void], frames: NDArray[np.uint8]) -> list[bytes]:
    """The packets of `as_batch` as they are now.

    Raises:
        ValueError: bytes were written that belong to no packet.
    """
    found = []
    for row, packet in enumerate(packets):
        start = int(packet["addr"]) % FRAME_SIZE
        end = start + int(packet["len"])
        if (frames[row, :start] != UNTOUCHED).any() or (frames[row, end:] != UNTOUCHED).any():
            raise ValueError(f"something was written outside of packet {row}")
        found.append(frames[row, start:end].tobytes())
    return found


def ask(function: object, packet: bytes, context: Any = None) -> tuple[int, bytes]:
    """The verdict of a verdict function, and the packet as it left it.

    Args:
        function: as for `forwarder.verdict.resolve`.
        packet: from the Ethernet header on.
        context: a writable buffer; None for NULL.

    Raises:
        InputError: it is no verdict function.
    """
    memory = (ctypes.c_uint8 * len(packet)).from_buffer_copy(packet)
    address = None if context is None else _batch.address(context)
    verdict = VERDICT_TYPE(resolve(function).address)(memory, len(packet), address)
    return int(verdict), bytes(memory)
