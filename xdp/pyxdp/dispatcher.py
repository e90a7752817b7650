# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""libxdp's way to attach: several programs on one device through its dispatcher, where the kernel can do it.

The dispatcher needs programs of type EXT (a trampoline). Where they are refused libxdp attaches the single
program itself, and `is_single` says so.
"""

from __future__ import annotations

import enum

from . import kernel, log, xdplink
from ._native import libxdp
from .bpf import BpfObject
from .errors import InputError, KernelError

DISPATCHER = "xdp_dispatcher"  # lib/libxdp/xdp-dispatcher.c.in


class Mode(enum.IntEnum):
    """enum xdp_attach_mode (xdp/libxdp.h)."""

    UNSPEC = 0
    NATIVE = 1
    GENERIC = 2
    HARDWARE = 3


_NETLINK_FLAGS = {
    Mode.NATIVE: xdplink.FLAGS_NATIVE,
    Mode.GENERIC: xdplink.FLAGS_GENERIC,
    Mode.HARDWARE: xdplink.FLAGS_HW,
}


class DispatchedProgram:
    """A loaded XDP program that libxdp attaches and detaches.

    Args:
        prog_fd: fd of a loaded program of type XDP, the caller's to keep open until `close`.

    Attributes:
        is_single: after `attach`: the program stands on the device itself, without a dispatcher.

    Raises:
        KernelError: libxdp cannot use the program.
    """

    def __init__(self, prog_fd: int) -> None:
        self._fd = prog_fd
        self._handle = libxdp().xdp_program__from_fd(prog_fd)
        self._attached: tuple[int, Mode] | None = None
        self.is_single = False
        error = libxdp().libxdp_get_error(self._handle)
        if error:
            self._handle = 0
            raise KernelError("open XDP program in libxdp", f"fd {prog_fd}", error)

    def attach(self, ifindex: int, mode: Mode = Mode.UNSPEC) -> None:
        """Attaches to a device of the calling thread's network namespace.

        Raises:
            KernelError: refused; `log` holds what libxdp said.
        """
        with log.captured() as said:
            result = libxdp().xdp_program__attach(self._handle, ifindex, mode, 0)
        if result:
            raise KernelError("attach by libxdp", f"ifindex {ifindex}", result, log="\n".join(said))
        self._attached = (ifindex, mode)
        self.is_single = xdplink.query(ifindex).prog_id == kernel.prog_info(self._fd).id

    def close(self) -> None:
        """Detaches, in the network namespace where it was attached, then frees the handle."""
        if self._attached:
            ifindex, mode = self._attached
            self._attached = None
            if self.is_single:
                # Not by libxdp: 1.3 leaks a descriptor each time it looks at a lone program.
                xdplink.netlink_detach(ifindex, _NETLINK_FLAGS.get(mode, 0), self._fd)
            else:
                libxdp().xdp_program__detach(self._handle, ifindex, mode, 0)
        if self._handle:
            libxdp().xdp_program__close(self._handle)
            self._handle = 0

    def __enter__(self) -> DispatchedProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def try_dispatcher(bpf: BpfObject, section: str, ifindex: int) -> None:
    """Attaches an opened object's program in generic mode as libxdp would beside others, and detaches it.

    The object must not be loaded yet: libxdp loads the program as one that extends its dispatcher.

    Raises:
        InputError: libxdp attached it by itself, without its dispatcher; says why.
        KernelError: it could not be attached at all.
    """
    handle = libxdp().xdp_program__from_bpf_obj(bpf.handle, section.encode())
    error = libxdp().libxdp_get_error(handle)
    if error:
        raise KernelError("open XDP program in libxdp", section, error)
    try:
        with log.captured() as said:
            result = libxdp().xdp_program__attach(handle, ifindex, Mode.GENERIC, 0)
        if result:
            raise KernelError("attach by libxdp", f"ifindex {ifindex}", result, log="\n".join(said))
        # What it said is no witness: it warns of things that it then does without, and falls back in silence.
        with kernel.prog_by_id(xdplink.query(ifindex).prog_id) as fd:
            name = kernel.prog_info(fd).name
        if name != DISPATCHER:
            xdplink.netlink_detach(ifindex, xdplink.FLAGS_GENERIC)  # by libxdp: see `DispatchedProgram.close`
            refusals = [line.removeprefix("libxdp: ") for line in said if "dispatcher" in line.lower()]
            raise InputError(refusals[0] if refusals else f"libxdp attached {name} by itself, without a word")
        libxdp().xdp_program__detach(handle, ifindex, Mode.GENERIC, 0)
    finally:
        libxdp().xdp_program__close(handle)
