# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Causes in the rings. A blockage spreads upstream, so the last ring on the way is judged first."""

from __future__ import annotations

import errno

from labs.harness.why.evidence import Evidence
from labs.harness.why.finding import Finding, plural
from labs.harness.why.parts import Socket
from xdp.xskmap_model import RingLevel


def _level(ring: RingLevel | None) -> int:
    return ring.level if ring else 0


def _rings(socket: Socket) -> str:
    info = socket.info
    parts = [
        f"{name} {ring.level:,}/{ring.size:,}"
        for name, ring in (
            ("rx", info.rx),
            ("tx", info.tx),
            ("fill", info.fill),
            ("completion", info.completion),
        )
        if ring
    ]
    return f"{socket}, {info.device} queue {info.queue}: " + ", ".join(parts)


def _done(completion: RingLevel) -> int:
    """Completions that wait, and those that the kernel has reserved room for."""
    return completion.level + completion.unpublished


def completion_full(evidence: Evidence) -> Finding | None:
    """Sent frames are not taken back, so the kernel can send no more."""
    for socket in evidence.companions:
        completion = socket.info.completion
        if completion is None or _done(completion) < completion.size:
            continue
        if evidence.live and socket.moved.taken_back:
            continue  # full for a moment only
        return Finding(
            "completion_full",
            f"The completion ring is full: {socket} does not take back what was sent, so nothing "
            "more is sent.",
            (
                _rings(socket),
                f"{plural(socket.moved.taken_back, 'completion')} taken back {evidence.since}",
            ),
            "consume the completion ring after each kick (xsk_ring_cons__peek and __release), "
            "and use its frames again",
        )
    return None


def tx_not_kicked(evidence: Evidence) -> Finding | None:
    """Descriptors wait in a TX ring, and nobody wakes the kernel."""
    if completion_full(evidence):
        return None
    for socket in evidence.companions:
        tx = socket.info.tx
        if tx is None or not tx.level or (evidence.live and socket.moved.sent):
            continue
        flag = "it asks to be woken (need_wakeup)" if tx.need_wakeup else "copy mode always needs it"
        return Finding(
            "tx_not_kicked",
            f"{plural(tx.level, 'packet')} wait in the TX ring: {socket} does not wake the kernel "
            "to send them.",
            (
                _rings(socket),
                f"{plural(socket.moved.sent, 'descriptor')} taken by the kernel {evidence.since}; {flag}",
            ),
            "after filling the TX ring call sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0), "
            "also for the last, partly filled batch",
        )
    return None


def _starved(evidence: Evidence) -> int:
    """Packets that met no frame to be received into."""
    return max(evidence.failed(errno.ENOMEM), sum(one.moved.no_frame for one in evidence.fed_sockets))


def fill_never_kicked(evidence: Evidence) -> Finding | None:
    """Frames wait in the fill ring, and the kernel waits to be woken to take them.

    Only drivers with zero-copy do so: copy mode takes a frame from the fill ring when a packet comes.
    """
    for socket in evidence.fed_sockets:
        fill = socket.info.fill
        if fill is None or not (fill.need_wakeup and fill.level) or socket.moved.received:
            continue
        return Finding(
            "fill_not_kicked",
            f"The kernel waits to be woken for the fill ring, and {socket} does not wake it.",
            (_rings(socket), "the fill ring's need_wakeup flag is set, and no frame is taken from it"),
            "when xsk_ring_prod__needs_wakeup(&fill) says so call recvfrom() or poll() on the socket",
        )
    return None


def rx_ring_full(evidence: Evidence) -> Finding | None:
    """Received packets are not read, or too slowly."""
    if completion_full(evidence) or tx_not_kicked(evidence):
        return None  # it waits for room to send
    for socket in evidence.fed_sockets:
        info, moved = socket.info, socket.moved
        lost = moved.ring_full
        unread = _level(info.rx)
        given = info.fill.producer if info.fill else 0
        # All frames can wait in a large RX ring: then the next packet finds none, and the ring never fills.
        hoarded = _starved(evidence) and unread and unread >= given - moved.taken_back and not moved.read
        if not lost and not hoarded:
            continue
        reads = (
            f"it reads {plural(moved.read)} while {moved.received + lost:,} come"
            if moved.read
            else "it reads none"
        )
        lost_line = (
            f"{plural(lost)} lost to a full ring" if lost else f"{plural(_starved(evidence))} found no frame"
        )
        return Finding(
            "rx_ring_full",
            f"The RX ring is full: {socket} {'reads too slowly' if moved.read else 'does not read'}.",
            (_rings(socket), f"{lost_line} {evidence.since}; {reads}"),
            "let it read in batches and never block for long (look where it hangs: "
            f"cat /proc/{info.owners[0].pid if info.owners else 'PID'}/stack); a larger RX ring "
            "helps bursts only",
        )
    return None


def _holders(evidence: Evidence, of: Socket) -> dict[str, int]:
    """Where the frames of a socket's UMEM are; sockets share UMEM and pool."""
    umem = of.info.umem
    if umem is None or umem.chunks is None:
        return {}
    held = {"fill ring": 0, "kernel's pool": 0, "RX ring": 0, "TX ring": 0, "completion ring": 0}
    pools = set()
    for one in evidence.sockets:
        info = one.info
        if info.umem is None or info.umem.id != umem.id:
            continue
        held["RX ring"] += _level(info.rx)
        held["TX ring"] += _level(info.tx)
        pool = (info.netns.inode, info.ifindex, info.queue)
        if pool not in pools:
            pools.add(pool)
            held["fill ring"] += max(_level(info.fill) - (info.fill.unpublished if info.fill else 0), 0)
            held["kernel's pool"] += info.pool_free or 0
            held["completion ring"] += _done(info.completion) if info.completion else 0
    held["process"] = max(umem.chunks - sum(held.values()), 0)
    return held


def _starved_socket(evidence: Evidence) -> Socket | None:
    # A process that is held up further on, or does not read, gives nothing back for that reason.
    held_up = (completion_full, tx_not_kicked, rx_ring_full)
    if not _starved(evidence) or any(rule(evidence) for rule in held_up):
        return None
    fed = evidence.fed_sockets
    worst = [one for one in fed if one.moved.no_frame] or list(fed)
    return worst[0] if worst else None


def _all_given(socket: Socket) -> bool:
    """Has the process given as many frames as there are? Then it has none that it kept for itself."""
    umem, fill = socket.info.umem, socket.info.fill
    return bool(umem and umem.chunks and fill and fill.producer >= umem.chunks)


def umem_exhausted(evidence: Evidence) -> Finding | None:
    """All frames were given once, and do not come back to the fill ring."""
    socket = _starved_socket(evidence)
    if socket is None or not _all_given(socket):
        return None
    held = _holders(evidence, socket)
    holder = max(held, key=lambda name: held[name])
    where = f"the {holder}" if holder != "process" else "the process itself, in none of its rings: leaked"
    table = ", ".join(f"{name} {count:,}" for name, count in held.items() if count)
    umem = socket.info.umem
    assert umem is not None
    return Finding(
        "umem_exhausted",
        f"The UMEM is exhausted: {held[holder]:,} of its {umem.chunks:,} frames are with {where}.",
        (
            _rings(socket),
            f"frames: {table}",
            f"{plural(_starved(evidence))} found no frame {evidence.since}",
        ),
        "give every frame back to the fill ring once it is read or its completion came, "
        "on every path: also for packets that are dropped",
    )


def fill_empty(evidence: Evidence) -> Finding | None:
    """The kernel has no frame to receive into."""
    socket = _starved_socket(evidence)
    if socket is None or umem_exhausted(evidence):
        return None
    info = socket.info
    given = info.fill.producer if info.fill else 0
    frames = info.umem.chunks if info.umem else None
    return Finding(
        "fill_empty",
        f"The fill ring is empty: {socket} gives the kernel no frame to receive into.",
        (
            _rings(socket),
            f"{plural(_starved(evidence))} found no frame {evidence.since}",
            f"{plural(given, 'frame')} given since it began, of {frames:,} in its UMEM"
            if frames
            else f"{plural(given, 'frame')} given since it began",
        ),
        "fill the fill ring before the first packet, and after each batch as many as were received",
    )
