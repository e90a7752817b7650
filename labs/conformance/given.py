# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The suite on two devices that are there already, such as the ends of a cable."""

from __future__ import annotations

import contextlib

from forwarder import netdev
from labs.conformance.bench import Bench
from labs.conformance.env import Env
from labs.conformance.exchange import data
from labs.conformance.mode import Mode
from labs.conformance.programs import REDIRECT
from labs.conformance.site import Site, Wire, WireSpec
from labs.conformance.waiting import Deadline
from labs.harness.existing_ns import ExistingNs
from labs.harness.netns import NetNs
from xdp.pyxdp import xdplink
from xdp.pyxdp.errors import InputError

REACH_S = 10.0
RESEND_S = 0.2


def given_site(dev: str, peer: str, netns: str | None, peer_netns: str | None) -> Site:
    """A wire of two devices, each in a namespace by name, path or process id (None: the caller's own).

    Raises:
        InputError: one is not there, is down, or has an XDP program already.
    """
    with contextlib.ExitStack() as undo:
        dut, other = (undo.enter_context(ExistingNs(where)) for where in (netns, peer_netns))
        if dev == peer and dut.inode == other.inode:
            raise InputError("--dev and --peer are the same device: give the two ends of a wire")
        queues = _look_at(dut, dev)
        _look_at(other, peer)
        wire = undo.enter_context(Wire(WireSpec(dev, peer, queues), dut, other, links_flap=True))
        return Site(False, (wire,), undo.pop_all())


def _look_at(namespace: NetNs, interface: str) -> int:
    """The device's number of queues, if it is fit."""
    index = namespace.interface_index(interface)
    with namespace.entered():
        if not netdev.is_up(interface):
            raise InputError(f"{interface} is down: ip link set {interface} up")
        attached = xdplink.query(index)
        if attached.prog_id:
            raise InputError(
                f"{interface} has an XDP program already (id {attached.prog_id}): "
                f"ip link set {interface} xdp off, or end what holds it"
            )
        return netdev.queues(interface) or 1


def check_wire(bench: Bench, mode: Mode) -> None:
    """Sees that what the peer sends meets a socket on queue 0 of the DUT, and the other way round.

    Raises:
        InputError: it does not; says what to do.
        KernelError: no XDP program, or no socket, in this mode.
    """
    wire = bench.site.wires[0]
    with Env(bench, mode) as env:
        env.use(REDIRECT)
        frames = env.inbound(1)
        deadline = Deadline(REACH_S)
        while True:
            wire.tap.send(frames)
            if wire.stack.receive(1, seconds=RESEND_S) == frames:
                break
            if deadline.over:
                raise InputError(
                    f"nothing that {wire.spec.peer} sends comes to {wire.spec.dut}: "
                    "are these the two ends of one wire?"
                )
        station = env.station()
        wire.tap.send(frames)
        if data(station.receive(1, seconds=1)) != frames:
            raise InputError(
                f"what {wire.spec.peer} sends does not come to queue 0 of {wire.spec.dut}: "
                f"ethtool -L {wire.spec.dut} combined 1, or steer EtherType 0x88b5 and UDP port 4242 there"
            )
        outbound = env.outbound(1)
        if env.collect(outbound, station) != outbound:
            raise InputError(f"nothing that {wire.spec.dut} sends comes to {wire.spec.peer}")
