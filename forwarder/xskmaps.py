# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The XSKMAPs that the sockets enter: a pin or an inherited descriptor, seen to be what they must be."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from xdp.pyxdp import kernel
from xdp.pyxdp.errors import InputError

from .spec import ForwarderSpec

if TYPE_CHECKING:
    from .process import Descriptors


def open_xskmaps(
    spec: ForwarderSpec, descriptors: Descriptors, undo: contextlib.ExitStack
) -> tuple[int | None, int | None]:
    """The map of the interface's program and that of the other interface's; None for those not given.

    Args:
        spec: names the pins.
        descriptors: the inherited ones.
        undo: closes what is opened here.

    Raises:
        InputError: none, or another map, or one too small.
    """
    if descriptors.out_xskmap is not None and not spec.both_ways:
        raise InputError("--out-xskmap-fd needs --both-ways: without it nothing is received there")
    return (
        _open("--xskmap", spec.xskmap, descriptors.xskmap, spec.interface, spec.queues, undo),
        _open("--out-xskmap", spec.out_xskmap, descriptors.out_xskmap, spec.out, spec.queues, undo),
    )


def _open(
    option: str,
    pin: str,
    fd: int | None,
    interface: str,
    queues: tuple[int, ...],
    undo: contextlib.ExitStack,
) -> int | None:
    if pin and fd is not None:
        raise InputError(f"give {option} or {option}-fd, not both")
    if pin:
        fd = kernel.open_pin(pin)
        undo.callback(os.close, fd)
    if fd is None:
        return None
    name = f"{option} {pin}" if pin else f"{option}-fd {fd}"
    try:
        info = kernel.map_info(fd)
    except InputError as error:
        raise InputError(f"{name} is no BPF map: give the XSKMAP of the program on {interface}") from error
    if info.type != kernel.MapType.XSKMAP:
        raise InputError(f"{name} is the map {info.name!r} of another type: give an XSKMAP")
    if max(queues) >= info.max_entries:
        raise InputError(
            f"{name} has {info.max_entries} slots, too few for queue {max(queues)}: make the map larger"
        )
    return fd
