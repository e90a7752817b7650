# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the watch of the kernel's tracepoints tells: events as they were counted, and drops with names."""

from __future__ import annotations

import dataclasses
import errno
from dataclasses import dataclass, field

KINDS = ("skb", "exception", "redirect", "redirect_err", "devmap_xmit")  # enum watch_kind, src/watch.h
ACTIONS = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")  # enum xdp_action, linux/bpf.h


@dataclass(frozen=True)
class Event:
    """Frames that had the same fate.

    Attributes:
        kind: "skb" (the stack dropped it), "exception" (an invalid or aborting verdict, or an XDP_TX that
            failed), "redirect", "redirect_err", or "devmap_xmit" (frames that were to leave by XDP).
        ifindex, netns: the device that they came in by, and the inode of its network namespace; 0 if unknown.
        prog_id: the program; 0 for "skb" and "devmap_xmit".
        map_id: the map of the redirect; 0 for none, so for a plain bpf_redirect().
        index: of a redirect the slot, or the ifindex if it is into no map, of an exception the verdict, of an
            skb the drop reason, of "devmap_xmit" 1 for sent frames and 0 for dropped ones.
        error: errno (positive), 0 for none.
        to_ifindex, to_netns: of "devmap_xmit" the device that they leave by, else 0.
        count: frames.
        location: of an skb the address in the kernel's code that dropped it.
        device: the name, at the first frame, of the device where it happened, of "devmap_xmit" of the one to
            leave by; "" if unknown. No part of what an event is.
    """

    kind: str
    ifindex: int
    netns: int
    prog_id: int = 0
    map_id: int = 0
    index: int = 0
    error: int = 0
    to_ifindex: int = 0
    to_netns: int = 0
    count: int = 0
    location: int = 0
    device: str = field(default="", compare=False)

    @property
    def refused_by(self) -> tuple[int, int] | None:
        """Namespace and ifindex of the device that takes no frames from XDP, if that is what happened.

        Since Linux 6.3 the redirect itself fails (EOPNOTSUPP: the device does not offer ndo_xdp_xmit),
        before that the transmission (ENXIO, veth_xdp_xmit()).
        """
        if self.kind == "redirect_err" and self.error == errno.EOPNOTSUPP and not self.map_id:
            return (self.netns, self.index)
        if self.kind == "devmap_xmit" and self.error == errno.ENXIO:
            return (self.to_netns, self.to_ifindex)
        return None

    @property
    def is_drop(self) -> bool:
        """Did the frames end here?"""
        return not (self.kind == "redirect" or (self.kind == "devmap_xmit" and self.index))

    @property
    def place(self) -> tuple[int, int]:
        """Namespace and ifindex of the device where it happened: of "devmap_xmit" the one to leave by."""
        sent_on = self.kind == "devmap_xmit"
        return (self.to_netns, self.to_ifindex) if sent_on else (self.netns, self.ifindex)


@dataclass(frozen=True)
class Drop:
    """Frames that the kernel dropped for one reason at one place.

    Attributes:
        namespace: as the watch was told to call it.
        interface: the device's name then, "unknown" if the packet had no device.
        ifindex: of the device, 0 if unknown.
        kind: "skb", "exception", "redirect_err" or "devmap_xmit".
        reason: of an skb the drop reason ("NO_SOCKET"), of an exception the verdict ("XDP_ABORTED"), else an
            errno ("ENOBUFS"), or "FULL" where a device took fewer frames than it was given.
        place: the kernel's function that dropped an skb; "" if /proc/kallsyms hides it, or of other kinds.
        frames: how many.
    """

    namespace: str
    interface: str
    ifindex: int
    kind: str
    reason: str
    place: str
    frames: int

    def to_dict(self) -> dict[str, str | int]:
        """Ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place else ""
        return f"{self.namespace}/{self.interface}: {self.frames} {self.kind} {self.reason}{where}"
