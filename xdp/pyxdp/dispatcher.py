# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""libxdp's way to attach: several programs on one device through its dispatcher, where the kernel can do it.

The dispatcher needs programs of type EXT (a trampoline). Where they are refused libxdp attaches the single
program itself; `Dispatched.is_single` says so.
"""

from __future__ import annotations

import ctypes
import dataclasses
import enum

from . import log
from ._native import libxdp
from .errors import KernelError


class Mode(enum.IntEnum):
    """enum xdp_attach_mode (xdp/libxdp.h)."""

    UNSPEC = 0
    NATIVE = 1
    GENERIC = 2
    HARDWARE = 3


@dataclasses.dataclass(frozen=True)
class Dispatched:
    """What libxdp finds on a device."""

    mode: Mode
    programs: int
    is_single: bool


class DispatchedProgram:
    """A loaded XDP program that libxdp attaches and detaches.

    Args:
        prog_fd: fd of a loaded program of type XDP.

    Raises:
        KernelError: libxdp cannot use the program.
    """

    def __init__(self, prog_fd: int) -> None:
        self._handle = libxdp().xdp_program__from_fd(prog_fd)
        self._attached: tuple[int, Mode] | None = None
        error = libxdp().libxdp_get_error(self._handle)
        if error:
            self._handle = 0
            raise KernelError("open XDP program in libxdp", f"fd {prog_fd}", error)

    def attach(self, ifindex: int, mode: Mode = Mode.UNSPEC) -> Mode:
        """Attaches; gives the mode that was granted.

        Raises:
            KernelError: refused; `log` holds what libxdp said.
        """
        with log.captured() as said:
            result = libxdp().xdp_program__attach(self._handle, ifindex, mode, 0)
        if result:
            raise KernelError("attach by libxdp", f"ifindex {ifindex}", result, log="\n".join(said))
        self._attached = (ifindex, mode)
        return Mode(libxdp().xdp_program__is_attached(self._handle, ifindex))

    def close(self) -> None:
        """Detaches, then frees the handle."""
        if self._attached:
            ifindex, mode = self._attached
            self._attached = None
            libxdp().xdp_program__detach(self._handle, ifindex, mode, 0)
        if self._handle:
            libxdp().xdp_program__close(self._handle)
            self._handle = 0

    def __enter__(self) -> DispatchedProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inspect(ifindex: int) -> Dispatched | None:
    """What libxdp finds on the device; None if nothing is attached."""
    with log.captured():
        found = libxdp().xdp_multiprog__get_from_ifindex(ifindex)
        if ctypes.c_long(libxdp().libxdp_get_error(found)).value:
            return None
        try:
            return Dispatched(
                Mode(libxdp().xdp_multiprog__attach_mode(found)),
                max(int(libxdp().xdp_multiprog__program_count(found)), 1),
                bool(libxdp().xdp_multiprog__is_legacy(found)),
            )
        finally:
            libxdp().xdp_multiprog__close(found)
