# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The UMEM is memory that Python, NumPy and C see alike; the C loop refuses what cannot be."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forwarder import _batch
from forwarder.umem import Umem
from xdp.pyxdp._native import Ring
from xdp.pyxdp.errors import InputError

_made, _unmade = Ring(ring=8), Ring()  # libxdp leaves a ring without memory where another socket has it
MADE, UNMADE = ctypes.addressof(_made), ctypes.addressof(_unmade)
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
PORT = (0, MADE, MADE, MADE, MADE, True, True, False)


def test_umem_is_page_aligned_and_seen_without_copy() -> None:
    umem = Umem(16, 2048)
    assert umem.address % 4096 == 0
    assert umem.page_size == mmap.PAGESIZE
    assert (umem.frames, umem.frame_size, len(umem)) == (16, 2048, 32768)
    frames = np.frombuffer(umem, dtype=np.uint8).reshape(16, 2048)
    frames[3, 7] = 9
    assert umem[3 * 2048 + 7] == 9
    del frames
    umem.close()
    umem.close()


def test_closing_under_a_view_leaves_the_view_alive() -> None:
    umem = Umem(2, 2048)
    view = memoryview(umem)
    umem.close()
    assert view[0] == 0


def test_missing_huge_pages_are_told_with_figures() -> None:
    if not POOL.exists():
        with pytest.raises(InputError, match="no pages of 2 MiB"):
            Umem(16, 2048, hugepages=True)
        return
    there, free = (int((POOL / f"{name}_hugepages").read_text()) for name in ("nr", "free"))
    pages = free + 1000
    missing = rf"needs {pages} pages of 2 MiB and \d+ of {there} are free: reserve them \(echo {there + 1000}"
    with pytest.raises(InputError, match=missing):
        Umem(pages * 1024, 2048, hugepages=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": 3000}, "power of two"),
        ({"frame_size": 0}, "power of two"),
        ({"frame_size": 65536}, "within the UMEM"),
        ({"batch": 0}, "batch must be 1 to"),
        ({"batch": _batch.BATCH_MAX + 1}, "batch must be 1 to"),
        ({"counters": bytearray(8)}, "counters must be"),
        ({"action": "eat"}, "unknown action"),
        ({"ports": ()}, "1 to 3 ports"),
        ({"ports": ((0, 0, 0, 0, 0, True, True, False),)}, "must not be 0"),
        ({"ports": ((0, MADE, MADE, UNMADE, MADE, True, True, False),)}, "has no memory"),
        ({"decide": print}, "descriptors and verdicts"),
    ],
)
def test_loop_refuses_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    given = {
        "umem": bytearray(32768),
        "frame_size": 2048,
        "ports": (PORT,),
        "counters": bytearray(8 * len(_batch.COUNTERS)),
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        _batch.Loop(**given)


def test_closed_loop_says_so_and_lets_the_memory_go() -> None:
    umem = bytearray(32768)
    loop = _batch.Loop(umem, 2048, (PORT,), bytearray(8 * len(_batch.COUNTERS)))
    with pytest.raises(BufferError):
        umem.clear()
    loop.close()
    loop.close()
    umem.clear()
    with pytest.raises(ValueError, match="the loop is closed"):
        loop.run(0)
