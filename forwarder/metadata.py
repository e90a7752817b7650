# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What redirect_meta leaves of each received packet: when it came, the driver's hash, time stamp, VLAN tag.

`python -m forwarder.metadata` prints the folder of the C header, for verdict functions in C.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import xdp

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

INCLUDE = Path(xdp.__file__).parent / "include"
"""Where `xdplab_rx_metadata.h` lies, for a C compiler's -I."""
TIMESTAMP, HASH, VLAN = 1, 2, 4
"""Bits of `valid`: the driver gave that field; the others are 0."""
RX_METADATA = [
    ("arrived", "<u8"),
    ("timestamp", "<u8"),
    ("hash", "<u4"),
    ("hash_type", "<u4"),
    ("vlan_proto", "<u2"),
    ("vlan_tci", "<u2"),
    ("valid", "<u4"),
]
"""`struct rx_metadata`, for `numpy.dtype`; it ends where the packet begins."""


def place(field: str) -> int:
    """Where a field of `RX_METADATA` lies, from the packet's first byte on: a negative number."""
    import numpy as np  # rarely needed, and dear at start

    kind = np.dtype(RX_METADATA)
    assert kind.fields is not None
    return int(kind.fields[field][1]) - kind.itemsize


def reader(frames: NDArray[np.uint8], batch: int) -> Callable[[NDArray[np.void]], NDArray[np.void]]:
    """Gives a function from a batch's packets to their metadata, a structured array with an entry a packet.

    Args:
        frames: the UMEM, of shape (frames, frame_size).
        batch: most packets at once.
    """
    import numpy as np

    kind = np.dtype(RX_METADATA)
    memory = frames.reshape(-1)
    within = np.arange(-kind.itemsize, 0)
    found = np.zeros((batch, kind.itemsize), dtype=np.uint8)

    def read(packets: NDArray[np.void]) -> NDArray[np.void]:
        n = len(packets)
        np.take(memory, packets["addr"][:, None] + within, out=found[:n])
        return found[:n].view(kind)[:, 0]

    return read


if __name__ == "__main__":
    print(INCLUDE)
