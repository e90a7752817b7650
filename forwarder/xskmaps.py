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


def open_xskmaps(spec: ForwarderSpec, descriptors: Descriptors, undo: contextlib.ExitStack) -> dict[str, int]:
    """Interface → descriptor of the map that its sockets enter; only of those for which one is given.

    Args:
        spec: names the pins.
        descriptors: the inherited ones.
        undo: closes what is opened here.

    Raises:
        InputError: none, or another map, or one too small.
    """
    if descriptors.out_xskmap is not None and not spec.both_ways:
        raise InputError("--out-xskmap-fd needs --both-ways: without it nothing is received there")
    if descriptors.also_xskmaps and len(descriptors.also_xskmaps) != len(spec.also):
        raise InputError(f"--also-xskmap-fd: give one for each of {len(spec.also)} interface(s) of --also")
    none = (None,) * len(spec.also)
    given = [
        ("--xskmap", spec.interface, spec.xskmap, descriptors.xskmap),
        ("--out-xskmap", spec.out, spec.out_xskmap, descriptors.out_xskmap),
        *(
            ("--also-xskmap", interface, pin or "", fd)
            for interface, pin, fd in zip(
                spec.also, spec.also_xskmap or none, descriptors.also_xskmaps or none, strict=True
            )
        ),
    ]
    found = {
        interface: _open(option, pin, fd, interface, spec.queues, undo)
        for option, interface, pin, fd in given
    }
    return {interface: fd for interface, fd in found.items() if fd is not None}


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
