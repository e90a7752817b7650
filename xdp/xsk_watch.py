# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Counts XDP's redirects and their errors, of all devices of the system, through tracepoints of the kernel.

A redirect that fails is counted by no link, by no socket in all cases, and by few drivers: the tracepoint
alone tells the errno, and the errno tells the cause.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import os
import struct
from ctypes import c_int32, c_uint32
from importlib import resources

from .pyxdp import kernel, maps, tracepoint
from .pyxdp.bpf import BpfObject

KINDS = ("redirect", "redirect_err", "exception", "devmap_xmit")  # enum xsk_watch_kind
VERDICTS = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")  # enum xdp_action, linux/bpf.h
_NO_MAP = 0x7FFFFFFF  # what the kernel reports as the map of a plain bpf_redirect(), net/core/filter.c
_TRACEPOINTS = {f"watch_{kind}": f"xdp_{kind}" for kind in KINDS}


class EventRecord(ctypes.Structure):
    """`struct xsk_watch_event`."""

    _fields_ = (
        ("kind", c_uint32),
        ("ifindex", c_uint32),
        ("netns_inode", c_uint32),
        ("prog_id", c_uint32),
        ("map_id", c_uint32),
        ("index", c_uint32),
        ("error", c_int32),
        ("to_ifindex", c_uint32),
        ("to_netns_inode", c_uint32),
    )


@dataclasses.dataclass(frozen=True)
class Event:
    """Packets that had the same fate.

    Attributes:
        kind: "redirect", "redirect_err", "exception" (an invalid or aborting verdict) or "devmap_xmit"
            (frames that left a device by XDP).
        ifindex, netns: the device that they came in by, and the inode of its network namespace.
        prog_id: the program; 0 for "devmap_xmit".
        map_id: the map of the redirect; 0 for none, so for a plain bpf_redirect().
        index: of a redirect the slot, or the ifindex if it is into no map, of an exception the verdict, of
            "devmap_xmit" 1 for sent frames and 0 for dropped ones.
        error: errno (positive), 0 for none.
        to_ifindex, to_netns: of "devmap_xmit" the device that they left by, else 0.
        count: packets.
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


class Watch:
    """Counts from construction to `close`; a context manager.

    Raises:
        InputError, KernelError: the kernel refused (without BTF or raw tracepoints).
    """

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            source = (resources.files("xdp") / "objects" / "xsk_watch.bpf.o").read_bytes()
            self._object = undo.enter_context(BpfObject(source, name="xsk_watch"))
            self._object.load()
            for name, point in _TRACEPOINTS.items():
                undo.callback(os.close, tracepoint.attach(self._object.programs[name].fd, point))
            self._undo = undo.pop_all()

    def read(self) -> tuple[Event, ...]:
        """What was counted so far, the most frequent first."""
        fd = self._object.maps["events"].fd
        info = kernel.map_info(fd)
        found = []
        for key in list(maps.keys(fd, info)):
            value = maps.lookup(fd, info, key)
            if value is not None:
                record = EventRecord.from_buffer_copy(key)
                count = sum(struct.unpack(f"={len(value) // 8}Q", value))
                found.append(
                    Event(
                        KINDS[record.kind],
                        record.ifindex,
                        record.netns_inode,
                        record.prog_id,
                        record.map_id if record.map_id != _NO_MAP else 0,
                        record.index,
                        -record.error,
                        record.to_ifindex,
                        record.to_netns_inode,
                        count,
                    )
                )
        return tuple(sorted(found, key=lambda event: -event.count))

    def close(self) -> None:
        """Lets go of the tracepoints. Idempotent."""
        self._undo.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
