# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One XDP program on one device: attached in the mode that was asked for, and what the kernel granted."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
from typing import Any, Literal, get_args

from .netns import call_inside
from .pyxdp import dispatcher, xdplink
from .pyxdp.errors import InputError, KernelError

Mode = Literal["auto", "native", "generic"]
Kind = Literal["link", "netlink", "dispatcher"]

_FLAGS = {"native": xdplink.FLAGS_NATIVE, "generic": xdplink.FLAGS_GENERIC}
_DISPATCHER_MODES = {"native": dispatcher.Mode.NATIVE, "generic": dispatcher.Mode.GENERIC}


@dataclasses.dataclass
class Attachment:
    """A program on a device, until `close`.

    Attributes:
        ifname, ifindex: the device, in the network namespace where it was attached.
        asked: the mode that was asked for.
        mode: the mode that the kernel reports.
        kind: "link", "netlink" or "dispatcher".
        prog_id: id of the program that the kernel reports on the device (or of libxdp's dispatcher).
        link_fd: fd of the bpf_link, None for the other kinds; a copy elsewhere keeps the program attached.
    """

    ifname: str
    ifindex: int
    asked: Mode
    mode: str
    kind: Kind
    prog_id: int
    link_fd: int | None
    _undo: contextlib.ExitStack = dataclasses.field(repr=False)

    def close(self) -> None:
        """Detaches; closing again does nothing."""
        self._undo.close()
        self.link_fd = None

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {key: getattr(self, key) for key in ("ifname", "ifindex", "asked", "mode", "kind", "prog_id")}

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(prog_fd: int, ifname: str, mode: Mode = "auto", kind: Kind = "link") -> Attachment:
    """Attaches a loaded program; see `Program.attach`."""
    if mode not in get_args(Mode):
        raise InputError(f"unknown XDP mode {mode!r}; there are {', '.join(get_args(Mode))}")
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind of attachment {kind!r}; there are {', '.join(get_args(Kind))}")
    try:
        ifindex = socket.if_nametoindex(ifname)
    except OSError:
        raise InputError(f"no device {ifname!r} in this network namespace; ip link lists them") from None
    with contextlib.ExitStack() as undo:
        link_fd = None
        for attempt in ("native", "generic") if mode == "auto" else (mode,):
            try:
                link_fd = _attach_once(prog_fd, ifname, ifindex, attempt, kind, undo)
                break
            except KernelError as error:
                refused_native = attempt == "native" and error.errno in (errno.EOPNOTSUPP, errno.EINVAL)
                if mode != "auto" or not refused_native:
                    raise KernelError(
                        error.operation, f"{ifname}, {attempt} mode", error.errno or 0, error.hint, error.log
                    ) from None
        granted = xdplink.query(ifindex)
        return Attachment(ifname, ifindex, mode, granted.mode, kind, granted.prog_id, link_fd, undo.pop_all())


def _attach_once(
    prog_fd: int, ifname: str, ifindex: int, mode: str, kind: Kind, undo: contextlib.ExitStack
) -> int | None:
    if kind == "link":
        link_fd = xdplink.link_create(prog_fd, ifindex, _FLAGS[mode])
        # Another process may hold a copy (the forwarder of a lab that is kept): then the link stays.
        undo.callback(os.close, link_fd)
        return link_fd
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    undo.callback(os.close, home)
    if kind == "netlink":
        xdplink.netlink_attach(prog_fd, ifindex, _FLAGS[mode])
        undo.callback(
            call_inside, home, ifname, lambda: xdplink.netlink_detach(ifindex, _FLAGS[mode], prog_fd)
        )
    else:
        program = dispatcher.DispatchedProgram(prog_fd)
        undo.callback(call_inside, home, ifname, program.close)
        program.attach(ifindex, _DISPATCHER_MODES[mode])
    return None
