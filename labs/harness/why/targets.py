# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which devices a question is about: one by name, those behind an XSKMAP, those of a process, or all."""

from __future__ import annotations

from pathlib import Path

from labs.harness.why.view import Target, View
from xdp.program_facts import program_facts
from xdp.pyxdp.errors import InputError
from xdp.xskmap_model import SocketInfo


def of_device(view: View, name: str, netns: str | None = None) -> list[Target]:
    """The device of this name.

    Raises:
        InputError: there is no such namespace or device.
    """
    namespace = view.namespaces.find(netns) if netns else view.namespaces.own
    devices = view.links.get(namespace.inode, {})
    for state in devices.values():
        if state.name == name:
            return [Target(namespace.inode, state.ifindex)]
    where = f"network namespace {netns}" if netns else "this network namespace"
    there = ", ".join(state.name for state in devices.values())
    elsewhere = sorted(
        {
            view.place(inode)
            for inode, found in view.links.items()
            for one in found.values()
            if one.name == name
        }
    )
    hint = f"; one is in namespace {', '.join(elsewhere)}: give --netns" if elsewhere else ""
    raise InputError(f"there is no device {name} in {where}; there is {there}{hint}")


def of_map(view: View, map_id: int) -> list[Target]:
    """The devices whose program uses the XSKMAP; where there are none, those of its sockets.

    Raises:
        InputError: there is no such XSKMAP, or neither a program nor a socket leads to a device.
    """
    view.need_map(map_id, must=True)
    users = [target for target, maps in _programs(view).items() if map_id in maps]
    bound = [_bound(info) for info in view.maps[map_id].sockets.values()]
    found = users or _unique(bound)
    if not found:
        raise InputError(
            f"XSKMAP {map_id} leads to no device: no socket is in it, and no attached program uses it; "
            "name the device with --dev"
        )
    return found


def of_process(view: View, pid: int) -> list[Target]:
    """The devices on which the process receives; or those to which its sockets are bound.

    Raises:
        InputError: there is no such process, or it has no AF_XDP socket.
    """
    if not Path(f"/proc/{pid}").exists():
        raise InputError(f"there is no process {pid}")
    own = [info for info in view.sockets.values() if any(owner.pid == pid for owner in info.owners)]
    if not own:
        raise InputError(f"process {pid} has no AF_XDP socket; those that have one: xdplab xskmap")
    maps = {map_id for info in own for map_id, _ in view.slots(info)}
    programs = _programs(view)
    bound = _unique([_bound(info) for info in own])
    users = [target for target, used in programs.items() if maps & used]
    fed = [target for target in users if target in bound]
    if fed:
        return fed
    in_maps = _unique([_bound(info) for info in own if view.slots(info)])
    found = in_maps or bound or users
    if not found:
        raise InputError(f"the AF_XDP sockets of process {pid} are bound to no device; name one with --dev")
    return found


def all_devices(view: View) -> list[Target]:
    """All devices with a program that uses an XSKMAP, and all with a socket in a map.

    Raises:
        InputError: there is none.
    """
    programs = [target for target, maps in _programs(view).items() if maps]
    # Without a slot a socket may be there to send only, when its process receives by another one.
    receivers = {owner.pid for info in view.sockets.values() if view.slots(info) for owner in info.owners}
    sockets = [
        _bound(info)
        for info in view.sockets.values()
        if view.slots(info) or not any(owner.pid in receivers for owner in info.owners)
    ]
    found = _unique([*programs, *sockets])
    if not found:
        raise InputError(
            "no device here has an XDP program with an XSKMAP, or an AF_XDP socket; name one with --dev"
        )
    return found


def _bound(info: SocketInfo) -> Target | None:
    return Target(info.netns.inode, info.ifindex) if info.ifindex is not None else None


def _unique(targets: list[Target | None]) -> list[Target]:
    return list(dict.fromkeys(one for one in targets if one is not None))


def _programs(view: View) -> dict[Target, set[int]]:
    """Each device with an XDP program, and the XSKMAPs that this uses."""
    found = {}
    for inode, devices in view.links.items():
        for state in devices.values():
            if state.prog_id:
                try:
                    found[Target(inode, state.ifindex)] = set(program_facts(state.prog_id).xskmaps)
                except InputError:  # gone since
                    continue
    return found
