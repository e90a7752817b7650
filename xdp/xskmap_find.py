# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which XSKMAPs there are: on the system, behind a device, used by a program, under a pin."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .netns import call_inside
from .pyxdp import kernel, maps, xdplink
from .pyxdp.errors import InputError, KernelError
from .xskmap import needs_root

_Result = TypeVar("_Result")
# Who looks at all sockets puts them into a map of this name for as long: it feeds nobody.
SCRATCH_MAP = "xdplab_borrowed"
LIBXDP_PINS = Path("/sys/fs/bpf/xdp")
_LINK_TRACING = 2  # BPF_LINK_TYPE_TRACING, linux/bpf.h


def all_xskmaps() -> list[int]:
    """Ids of all XSKMAPs of the system, ascending, without those that only serve to look at sockets.

    Raises:
        InputError: not root.
    """
    with needs_root():
        return [
            number
            for number in kernel.map_ids()
            if _type(number) == kernel.MapType.XSKMAP and not is_scratch(number)
        ]


def is_scratch(map_id: int) -> bool:
    """Does this map only serve somebody, ourselves or another process, to look at sockets?

    So does one that is gone already.
    """
    try:
        with kernel.map_by_id(map_id) as fd:
            return bool(kernel.map_info(fd).name == SCRATCH_MAP)
    except InputError:
        return True


def xskmaps_of_program(prog_id: int) -> list[int]:
    """Ids of the XSKMAPs that a program uses, itself or through what it calls.

    Followed are tail calls (its program arrays) and programs that replace a function of it, which is how
    libxdp's dispatcher calls its programs.

    Raises:
        InputError: no such program, none of them uses an XSKMAP, not root.
    """
    with needs_root():
        with kernel.prog_by_id(prog_id) as fd:
            name = kernel.prog_info(fd).name
        found = _reachable(prog_id)
    if not found:
        raise InputError(f"program {prog_id} ({name}) uses no XSKMAP; all XSKMAPs: xdplab xskmap --all")
    return found


def xskmaps_of_device(device: str, netns: str | None = None) -> list[int]:
    """Ids of the XSKMAPs behind the XDP program that is attached to a device.

    Args:
        device: its name.
        netns: the namespace it is in: a name in /run/netns, a process id, or a path; None: the caller's.

    Raises:
        InputError: no such namespace or device, no XDP program there, no XSKMAP in it, not root.
    """
    where = f"{device} in network namespace {netns}" if netns else device

    def look_up() -> xdplink.Attached:
        try:
            ifindex = socket.if_nametoindex(device)
        except OSError:
            there = ", ".join(name for _, name in socket.if_nameindex())
            raise InputError(f"there is no device {where}; there is {there}") from None
        return xdplink.query(ifindex)

    with needs_root():
        attached = _in_namespace(_namespace_path(netns), look_up) if netns else look_up()
        if not attached.prog_id:
            raise InputError(f"no XDP program is attached to {where}; all XSKMAPs: xdplab xskmap --all")
        found = _reachable(attached.prog_id)
    if not found:
        raise InputError(f"the XDP program {attached.prog_id} on {where} uses no XSKMAP")
    return found


def xskmaps_of_pin(path: str) -> list[int]:
    """Ids of what is pinned at a path: the XSKMAP itself, or those of a pinned program.

    Raises:
        InputError: nothing is pinned there, or neither map nor program; not root.
    """
    with needs_root():
        fd = kernel.open_pin(path)
        try:
            with contextlib.suppress(InputError):
                return [int(kernel.map_info(fd).id)]
            try:
                prog_id = int(kernel.prog_info(fd).id)
            except InputError:
                raise InputError(f"what is pinned at {path} is neither a map nor a program") from None
        finally:
            os.close(fd)
        return xskmaps_of_program(prog_id)


def _type(map_id: int) -> kernel.MapType | None:
    try:
        with kernel.map_by_id(map_id) as fd:
            return kernel.MapType(kernel.map_info(fd).type)
    except InputError:
        return None  # gone since it was listed


def _reachable(prog_id: int) -> list[int]:
    found, seen, waiting = set(), set(), [prog_id]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        waiting += _replacing(current)
        with contextlib.suppress(InputError), kernel.prog_by_id(current) as fd:  # may be gone by now
            for map_id in kernel.prog_map_ids(fd):
                kind = _type(map_id)
                if kind == kernel.MapType.XSKMAP:
                    found.add(map_id)
                elif kind == kernel.MapType.PROG_ARRAY:
                    waiting += _tail_called(map_id)
    return sorted(found)


def _tail_called(map_id: int) -> list[int]:
    """Ids in a program array: the kernel gives the id where a process had stored an fd."""
    with contextlib.suppress(InputError), kernel.map_by_id(map_id) as fd:
        info = kernel.map_info(fd)
        values = (maps.lookup(fd, info, key) for key in maps.keys(fd, info))
        return [struct.unpack("=I", value)[0] for value in values if value]
    return []


def _replacing(prog_id: int) -> list[int]:
    """Ids of the EXT programs that are linked into a program (freplace)."""
    found = []
    for link_id in kernel.link_ids():
        with contextlib.suppress(InputError), kernel.link_by_id(link_id) as fd:
            info = kernel.link_info(fd)
            # For tracing links the two words after the program are attach type and target's id.
            if info.type == _LINK_TRACING and info.rest[0] == prog_id:
                found.append(int(info.prog_id))
    return found or _pinned_beside(prog_id)


def _pinned_beside(dispatcher: int) -> list[int]:
    """Ids of the programs that libxdp pinned for a dispatcher; before Linux 5.13 links tell no target."""
    found = []
    for pin in LIBXDP_PINS.glob(f"dispatch-*-{dispatcher}/prog*-prog"):
        with contextlib.suppress(InputError, KernelError):
            fd = kernel.open_pin(str(pin))
            try:
                found.append(int(kernel.prog_info(fd).id))
            finally:
                os.close(fd)
    return found


def _namespace_path(netns: str) -> Path:
    if "/" in netns:
        path = Path(netns)
    else:
        path = Path("/run/netns") / netns
        if not path.exists() and netns.isdigit():
            path = Path("/proc") / netns / "ns" / "net"
    if not path.exists():
        raise InputError(
            f"there is no network namespace {netns}; "
            "give a name of `ip netns`, the id of a process in it, or a path"
        )
    return path


def _in_namespace(path: Path, call: Callable[[], _Result]) -> _Result:
    try:
        namespace = path.open()
    except PermissionError as error:
        raise KernelError("open network namespace", str(path), error.errno or 0) from error
    with namespace:
        return call_inside(namespace.fileno(), str(path), call)
