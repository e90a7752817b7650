# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The C core as Python sees it; this stub is its documentation of record.

The GIL is released while a loop runs. Sizes are in bytes unless a name says otherwise.
"""

from collections.abc import Callable
from typing import Literal, TypedDict

from typing_extensions import Buffer

COUNTERS: tuple[str, ...]
"""Names of the counters, in their order in memory (csrc/counters.h says what each counts)."""

BATCH_MAX: int
"""Most packets that one batch may hold."""

DROP: int
"""Verdict 0: the frame goes back to the pool, counted as `dropped`."""
BACK: int
"""Verdict 1: out of the interface and queue that it came from."""
FORWARD: int
"""Verdict 2: out of the other interface; `not_matched` where the loop has none."""
NOT_MATCHED: int
"""Verdict 3 (and any number that is none of these): dropped, counted as `not_matched`."""
HOST: int
"""Verdict 4: into the host's own stack through a TAP; `not_matched` where the loop has none."""
CAPTURE: int
"""Mark 0x40, or'ed to a verdict: captured, where the capture takes those marked."""
MIRROR: int
"""Mark 0x80, or'ed to a verdict: a copy goes to the mirror, where it takes those marked."""

Port = tuple[int, int, int, int, int, bool, bool, bool]
"""(fd, addresses of the ring structs fill, completion, rx, tx; bound with need_wakeup; receives; busy-polls).

The ring structs are libxdp's (`struct xsk_ring_prod`/`xsk_ring_cons`) and must outlive the loop.
"""

class Audit(TypedDict):
    """Where every frame is.

    `pool + fill + rx + tx + completion + kernel_receive + kernel_transmit = frames` where `conserved`.
    `kernel_*` are counted (given minus come back minus what the rings hold), `unseen` is what a walk of
    pool and rings did not find: the two must agree, with no frame seen twice. That holds at any time;
    `stable` says that the kernel moved no frame during the walk.
    """

    frames: int
    pool: int
    fill: int
    rx: int
    tx: int
    completion: int
    kernel_receive: int
    kernel_transmit: int
    unseen: int
    duplicates: int
    invalid: int
    stable: bool
    conserved: bool

class Loop:
    """One loop over one UMEM, or a part of it, and one to three ports that share it.

    Args:
        umem: the whole UMEM's memory, writable; held until `close`.
        frame_size: bytes a frame; a power of two unless `unaligned`.
        ports: one socket, or two that are each other's "other interface"; then the mirror, if there is one.
        counters: `len(COUNTERS)` 64-bit values, 8-byte aligned, writable; others may map them.
        batch: most packets taken at once, 1 to BATCH_MAX.
        stop_fd: readable means stop (an eventfd); -1 for none.
        no_fill: fault switch for tests, the kernel is never given a frame to receive into.
        no_receive: fault switch for tests, the RX ring is never read.
        check_owners: keep a table of each frame's owner; violations are counted and the first described.
        decide: called as `decide(n)` once a batch, with the GIL: `descriptors` then begins with `n`
            `struct xdp_desc` (u64 addr, u32 len, u32 options), and `verdicts` is to hold `n` verdicts when
            it returns. addr and len may be changed within the frame. An exception drops the batch and ends
            `run`.
        descriptors: 16 * batch bytes, for `decide`.
        verdicts: batch bytes, for `decide`.
        action: "drop", "echo", "forward", "respond" or "host", used without `decide`.
        source_mac: forward: written into each packet; empty: left as it is.
        destination_mac: likewise.
        mac: respond: our address.
        ipv4: respond: our addresses, 4 bytes each, at most 8.
        ipv6: respond: our addresses, 16 bytes each, at most 8.
        first: where this loop's frames begin in the UMEM, in bytes; a multiple of frame_size.
        frames: how many they are, all in the pool at first; 0 for all that fit. Loops that share a UMEM
            have frames of their own, so that none has to wait for another.
        unaligned: the UMEM was registered with XDP_UMEM_UNALIGNED_CHUNK_FLAG. Addresses in `descriptors` are
            plain ones (chunk + offset) all the same.
        multi_buffer: packets may fill several frames (XDP_USE_SG); `decide` sees the first of each.

    Raises:
        ValueError: a size, count or name that cannot be.
    """

    def __init__(
        self,
        umem: Buffer,
        frame_size: int,
        ports: tuple[Port, ...],
        counters: Buffer,
        *,
        batch: int = 64,
        stop_fd: int = -1,
        no_fill: bool = False,
        no_receive: bool = False,
        check_owners: bool = False,
        decide: Callable[[int], object] | None = None,
        descriptors: Buffer = ...,
        verdicts: Buffer = ...,
        action: str = "drop",
        source_mac: Buffer = b"",
        destination_mac: Buffer = b"",
        mac: Buffer = b"",
        ipv4: Buffer = b"",
        ipv6: Buffer = b"",
        first: int = 0,
        frames: int = 0,
        unaligned: bool = False,
        multi_buffer: bool = False,
    ) -> None: ...
    def use_verdict(self, function: int, context: int) -> None:
        """Lets a C function decide each packet in place of the action, without the GIL.

        Args:
            function: its address (see `include/xdplab_verdict.h`); it must live as long as the loop.
            context: address of what it gets as its context; 0 for NULL.

        Raises:
            ValueError: the loop is closed.
            RuntimeError: the loop is running.
        """

    def use_host(self, fd: int) -> None:
        """Lets the verdict HOST write packets to a TAP, opened with O_NONBLOCK and IFF_NO_PI.

        Raises:
            ValueError: the loop is closed, or fd is none.
            RuntimeError: the loop is running.
        """

    def use_mirror(self, marked: bool) -> None:
        """Makes the last port that of copies; no packet goes out of it by a verdict.

        Args:
            marked: copies only packets whose verdict has the mark MIRROR, as the decision left them; else all
                are copied, as they were received.

        Raises:
            ValueError: the loop is closed, or its last port receives.
            RuntimeError: the loop is running.
        """

    def use_capture(self, capture: Capture) -> None:
        """Puts packets into a ring for a pcapng file, beside what becomes of them.

        Raises:
            ValueError: the loop is closed.
            TypeError: it is no Capture.
            RuntimeError: the loop is running.
        """

    def run(self, max_ms: int) -> Literal["time", "stopped", "interrupted"]:
        """Runs for at most about `max_ms` milliseconds; 0 does one round and fills the fill ring.

        Returns early on `stop` and on a signal, whose Python handlers then run in the main thread.

        Raises:
            ValueError: the loop is closed.
            RuntimeError: another thread is in `run`.
            Exception: what `decide` raised.
        """

    def stop(self) -> None:
        """Makes `run` return, now and from now on; safe from any thread. A sleeping loop needs `stop_fd`."""

    def drain(self, max_ms: int) -> int:
        """Sends what is queued and reaps what completes; returns the frames still on the TX side."""

    def audit(self, max_ms: int) -> Audit:
        """Finds every frame; while packets still move the rings it repeats for up to `max_ms` milliseconds.

        A loop that runs in another thread does it itself, once, between two rounds; it may sleep 100 ms
        before it notices.

        Raises:
            ValueError: the loop is closed.
            RuntimeError: another thread asks already.
            TimeoutError: the running loop did not answer within `max_ms`, as in a long `decide`.
        """

    @property
    def violation(self) -> str | None:
        """The first violation of a frame's ownership, in words; None without `check_owners` or violation."""

    def close(self) -> None:
        """Releases the buffers. May be called again.

        Raises:
            RuntimeError: the loop is running.
        """

class Capture:
    """A ring of pcapng blocks: one loop puts packets in, one thread writes them to a file, and neither waits.

    Args:
        size: bytes, a power of two of at least 262,144; a 60-byte packet takes 92.
        interface: number in the file of the interface of the loop's first port; the other port has the next.
        snap: bytes of each packet that are kept, 1 to 65,535.
        marked: only packets whose verdict has the mark CAPTURE, as the decision left them; else all, as they
            were received.
        wake_fd: a pipe, not blocking, that is written when a quarter of the ring is full; -1 for none.

    Raises:
        ValueError: a size that cannot be.
    """

    def __init__(
        self, size: int, interface: int, *, snap: int = 65535, marked: bool = False, wake_fd: int = -1
    ) -> None: ...
    def write(self, fd: int) -> int:
        """Writes all that is there, whole blocks, without the GIL; returns how many bytes.

        Raises:
            OSError: the file takes no more; the last block in it may be cut off.
            RuntimeError: another thread is in `write`.
        """

def act(
    packet: Buffer,
    action: str,
    *,
    source_mac: Buffer = b"",
    destination_mac: Buffer = b"",
    mac: Buffer = b"",
    ipv4: Buffer = b"",
    ipv6: Buffer = b"",
) -> int:
    """Applies an action to one packet in place, as the loop would; returns the verdict."""

def address(memory: Buffer) -> int:
    """Where a writable buffer lies in memory; valid while the buffer is kept."""
