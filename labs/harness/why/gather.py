# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Gathers the evidence from the kernel, for a device of any process in any namespace.

What is looked at is not changed, but for what the help says: the kernel counts runs of BPF programs
meanwhile, and the device's program is run on copies of a few packets that were seen (`probe`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from labs.harness.why.evidence import Evidence
from labs.harness.why.namespaces import ForeignNs
from labs.harness.why.parts import Device, Frame, Link, Map, Moved, Socket
from labs.harness.why.sample import Packet, Sampler, listen, untagged, with_port
from labs.harness.why.view import Target, View
from xdp.program_facts import ProgramFacts, counting_runs, program_facts, verdict
from xdp.pyxdp import kernel
from xdp.pyxdp.errors import InputError, KernelError
from xdp.watch import XDP, Watch
from xdp.watch_events import Event
from xdp.watch_verdicts import VerdictWatch
from xdp.xskmap import SocketInfo, programs_of_map
from xdp.xskmap_model import INDICES

PROBES = 6  # different packets that the program is asked about


def gather(
    view: View,
    target: Target,
    *,
    seconds: float | None = 1.0,
    want: str = "",
    probe: bool = True,
    fexit: bool = False,
) -> Evidence:
    """Watches a device for some seconds.

    Args:
        view: the system.
        target: the device.
        seconds: how long; None for no watching at all: what was counted since the device and its sockets were
            made is taken for what happened (for a lab that has just ended).
        want: the mode in which the program was to be attached.
        probe: ask the device's program about packets that were seen.
        fexit: count at the exit of the device's program what it says, where the kernel takes that: the kernel
            patches the program for it while packets go through.

    Raises:
        InputError: there is no such device (any more).
        KernelError: the kernel refused to be asked.
    """
    if view.link(target) is None:
        raise InputError("the device is gone")
    for map_id in _program_maps(view, target):
        view.need_map(map_id)
    before: Mapping[Target, Mapping[str, int]] = {}
    sockets_before: Mapping[int, SocketInfo] = {}
    program_before: ProgramFacts | None = None
    events: tuple[Event, ...] | None = None
    packets: list[Packet] = []
    verdicts: Mapping[int, Mapping[str, int]] = {}
    if seconds is None:
        program = _program(view, target)
    else:
        with (
            Watch(None, XDP) as watch,
            _verdict_watch(view, target) if fexit else contextlib.nullcontext() as verdict_watch,
            counting_runs(),
            _samplers(view, target) as samplers,
        ):
            view.refresh()
            before, sockets_before, program_before = (
                _counters(view, target),
                view.sockets,
                _program(view, target),
            )
            listen(samplers, seconds)
            events, program = watch.events(), _program(view, target)
            verdicts = verdict_watch.by_queue() if verdict_watch is not None else {}
            packets = [packet for one in samplers for packet in one.packets]
        view.refresh()
        if view.link(target) is None:
            raise InputError("the device disappeared while it was watched")
    device = _device(view, target, before, _less(program, program_before))
    used = set(device.program.xskmaps) if device.program else set()
    chosen = _sockets(view, target, used)
    maps = used | {map_id for info in chosen for map_id, _ in view.slots(info)}
    return Evidence(
        link=Link(device, _peer(view, target, before)),
        want=want,
        egress=tuple(
            Link(_device(view, one, before), _peer(view, one, before))
            for one in [*_egress(view, target, used), *_redirected_to(view, target, events)]
        ),
        attached=_attached(view, target, maps),
        loaded=_loaded(maps, device),
        maps=tuple(
            Map(one.id, one.name, one.max_entries, {slot: info.inode for slot, info in one.sockets.items()})
            for one in view.maps.values()
            if one.id in maps
        ),
        sockets=tuple(
            Socket(
                _named(view, info),
                _moved(info, sockets_before.get(info.inode), whole=seconds is None),
                tuple(view.slots(info)),
            )
            for info in chosen
        ),
        events=events,
        verdicts=verdicts,
        frames=tuple(_probed(view, target, device, chosen, packets, probe)),
        since="since it was made" if seconds is None else f"in {seconds:g} s",
        live=seconds is not None,
    )


def _named(view: View, info: SocketInfo) -> SocketInfo:
    place = view.place(info.netns.inode)
    return dataclasses.replace(info, netns=dataclasses.replace(info.netns, name=place or "this namespace"))


def _bound_to(info: SocketInfo) -> Target | None:
    return Target(info.netns.inode, info.ifindex) if info.ifindex is not None else None


def _pids(info: SocketInfo) -> set[int]:
    return {owner.pid for owner in info.owners}


def _sockets(view: View, target: Target, used: set[int]) -> list[SocketInfo]:
    """Those bound to the device, those in the program's maps, and the other sockets of their processes."""
    near = [
        info
        for info in view.sockets.values()
        if _bound_to(info) == target or any(map_id in used for map_id, _ in view.slots(info))
    ]
    pids = {pid for info in near for pid in _pids(info)}
    inodes = {info.inode for info in near}
    return near + [info for info in view.sockets.values() if info.inode not in inodes and pids & _pids(info)]


def _egress(view: View, target: Target, used: set[int]) -> list[Target]:
    """Other devices to which the processes behind the device's sockets have sockets bound."""
    found = {_bound_to(info) for info in _sockets(view, target, used)}
    return [one for one in found if one is not None and one != target and view.link(one) is not None]


def _redirected_to(view: View, target: Target, events: tuple[Event, ...] | None) -> list[Target]:
    """Devices that took no frames which XDP redirected to them from this device."""
    found = {
        Target(*one.refused_by)
        for one in events or ()
        if one.refused_by and (one.netns, one.ifindex) == (target.netns, target.ifindex)
    }
    return [one for one in found if view.link(one) is not None]


def _moved(info: SocketInfo, earlier: SocketInfo | None, *, whole: bool) -> Moved:
    if earlier is None and not whole:
        return Moved()  # it was made while we looked: there is no difference to tell

    def ring(name: str, end: str) -> int:
        now, then = getattr(info, name), getattr(earlier, name) if earlier else None
        if now is None:
            return 0
        return int((getattr(now, end) - (getattr(then, end) if then else 0)) % INDICES)

    def counted(name: str) -> int:
        then = getattr(earlier.statistics, name) if earlier else 0
        return int((getattr(info.statistics, name) or 0) - (then or 0))

    return Moved(
        received=ring("rx", "producer"),
        read=ring("rx", "consumer"),
        given=ring("fill", "producer"),
        taken_back=ring("completion", "consumer"),
        queued=ring("tx", "producer"),
        sent=ring("tx", "consumer"),
        completed=ring("completion", "producer"),
        ring_full=counted("rx_ring_full"),
        no_frame=counted("rx_fill_ring_empty_descs"),
        dropped=counted("rx_dropped"),
    )


def _counters(view: View, target: Target) -> dict[Target, dict[str, int]]:
    """Link's and driver's counters of all devices that could matter: the dump had them anyway."""
    found: dict[Target, dict[str, int]] = {}
    for one in (target, view.peer_of(target)):
        if one is not None:
            found[one] = view.driver_counters(one)
    for inode, devices in view.links.items():
        for state in devices.values():
            found.setdefault(Target(inode, state.ifindex), {}).update(state.counters)
    return found


def _program(view: View, target: Target) -> ProgramFacts | None:
    state = view.link(target)
    if state is None or not state.prog_id:
        return None
    with contextlib.suppress(InputError):  # replaced since
        return program_facts(state.prog_id)
    return None


def _less(now: ProgramFacts | None, then: ProgramFacts | None) -> ProgramFacts | None:
    """What the program counted between; `then` None: all that it ever counted."""
    if now is None or then is None or now.id != then.id:
        return now
    runs = None if now.runs is None or then.runs is None else now.runs - then.runs
    counters = {name: count - then.counters.get(name, 0) for name, count in now.counters.items()}
    return dataclasses.replace(now, runs=runs, counters=counters)


def _device(
    view: View,
    target: Target,
    before: Mapping[Target, Mapping[str, int]],
    program: ProgramFacts | None = None,
) -> Device:
    state = view.link(target)
    assert state is not None
    now = {**state.counters, **view.driver_counters(target)}
    then = before.get(target, {})
    return Device(
        name=state.name,
        ifindex=state.ifindex,
        netns=target.netns,
        place=view.place(target.netns),
        kind=state.kind,
        up=state.up,
        carrier=state.carrier,
        mtu=state.mtu,
        mac=state.mac,
        queues=state.queues,
        xdp_mode=state.xdp_mode,
        program=program if program is not None else _program(view, target),
        features=view.features(target),
        counters={name: count - then.get(name, 0) for name, count in now.items()},
        enter=view.namespaces.by_inode[target.netns].enter,
    )


def _peer(view: View, target: Target, before: Mapping[Target, Mapping[str, int]]) -> Device | None:
    peer = view.peer_of(target)
    return _device(view, peer, before) if peer is not None else None


def _attached(view: View, target: Target, maps: set[int]) -> tuple[Device, ...]:
    """Other devices whose program uses one of the maps."""
    found = []
    for inode, devices in view.links.items():
        for state in devices.values():
            one = Target(inode, state.ifindex)
            if state.prog_id and one != target and maps:
                program = _program(view, one)
                if program and maps & set(program.xskmaps):
                    found.append(_device(view, one, {}, program))
    return tuple(found)


def _loaded(maps: set[int], device: Device) -> tuple[ProgramFacts, ...]:
    own = device.program.id if device.program else 0
    ids = {ref.id for map_id in maps for ref in programs_of_map(map_id)} - {own}
    found = []
    for prog_id in sorted(ids):
        with contextlib.suppress(InputError), kernel.prog_by_id(prog_id) as fd:
            info = kernel.prog_info(fd)
            if kernel.ProgType(info.type) in (kernel.ProgType.XDP, kernel.ProgType.EXT):
                found.append(ProgramFacts(prog_id, info.name))
    return tuple(found)


@contextlib.contextmanager
def _verdict_watch(view: View, target: Target) -> Iterator[VerdictWatch | None]:
    """At the exit of the device's program; None where there is none, or nothing can be attached to it."""
    state = view.link(target)
    with contextlib.ExitStack() as undo:
        watch = None
        if state is not None and state.prog_id:
            with contextlib.suppress(InputError, KernelError), kernel.prog_by_id(state.prog_id) as fd:
                made = VerdictWatch(fd, target.netns, target.ifindex, state.queues)
                watch = undo.enter_context(made)
        yield watch


@contextlib.contextmanager
def _samplers(view: View, target: Target) -> Iterator[list[Sampler]]:
    """On the peer, on the device where there is no peer to be seen, and behind the devices to send by."""
    state = view.link(target)
    places = [view.peer_of(target) or target]
    used = set(_program_maps(view, target))
    places += [peer for one in _egress(view, target, used) if (peer := view.peer_of(one)) is not None]
    assert state is not None
    with contextlib.ExitStack() as undo:
        samplers = []
        for place in places:
            link = view.link(place)
            with contextlib.suppress(KernelError):  # a device that is down takes no listener
                if link is not None:
                    namespace: ForeignNs = view.namespaces.by_inode[place.netns]
                    samplers.append(undo.enter_context(Sampler(namespace, link.name)))
        yield samplers


def _program_maps(view: View, target: Target) -> tuple[int, ...]:
    program = _program(view, target)
    return program.xskmaps if program else ()


def _probed(
    view: View,
    target: Target,
    device: Device,
    sockets: Iterable[SocketInfo],
    packets: Iterable[Packet],
    probe: bool,
) -> list[Frame]:
    """The frames, and for those on their way to the device what its program says to them."""
    peer = view.peer_of(target)
    link = view.link(peer) if peer is not None else None
    program = device.program
    queue = min((info.queue for info in sockets if _bound_to(info) == target), default=0)
    ports = [value for name, value in program.constants.items() if "port" in name] if program else []
    found, asked = [], 0
    with view.namespaces.by_inode[target.netns].entered():
        for packet in sorted(packets, key=lambda one: -one.frame.count):
            frame = packet.frame
            comes = frame.at == link.name and not frame.incoming if link else frame.incoming
            if (
                probe
                and program
                and comes
                and not frame.gso_bytes
                and asked < PROBES
                and len(packet.data) >= 14
            ):
                asked += 1

                def ask(data: bytes) -> str | None:
                    assert program is not None
                    return verdict(program.id, data, target.ifindex, queue)

                frame = dataclasses.replace(
                    frame,
                    verdict=ask(packet.data),
                    untagged=ask(untagged(packet.data)) if frame.vlans else None,
                    constant=ask(with_port(packet.data, ports[0])) if ports else None,
                )
            found.append(frame)
    return found
