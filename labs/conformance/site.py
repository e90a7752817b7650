# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where the suite runs: pairs of devices, each a DUT with XDP and a peer that sends to it."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from forwarder import netdev
from labs.conformance.mode import Mode
from labs.conformance.tap import Tap
from labs.conformance.waiting import Deadline
from labs.harness.netlink_errors import kernel_errors
from labs.harness.netns import NetNs
from labs.harness.topology import PAIR, NodeSpec, Topology, TopologySpec
from labs.harness.veth_spec import EndSpec, VethSpec
from xdp.attachment import Attachment, attach
from xdp.program import Program
from xdp.pyxdp import xdplink
from xdp.pyxdp.errors import KernelError

QUEUES = 2
LINK_S = 10.0  # a device may take its link down and up when it gets an XDP program


@dataclass(frozen=True)
class WireSpec:
    """Two devices that hear each other: where the AF_XDP sockets are bound, and where traffic comes from."""

    dut: str
    peer: str
    queues: int


class Wire:
    """The two devices, and the XDP program on the DUT; a context manager.

    Args:
        spec: their names.
        dut_namespace, peer_namespace: where they live; which stay the caller's.
        links_flap: wait for the links where a driver may take them down: after the first program, a new MTU.
    """

    def __init__(
        self, spec: WireSpec, dut_namespace: NetNs, peer_namespace: NetNs, *, links_flap: bool = False
    ) -> None:
        self.spec = spec
        self._links_flap = links_flap
        self.dut, self.peer = dut_namespace, peer_namespace
        self._attachment: Attachment | None = None
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            with self.dut.entered():
                self.dut_mac = netdev.mac(spec.dut)
            with self.peer.entered():
                self.peer_mac = netdev.mac(spec.peer)
            self.tap = undo.enter_context(Tap(self.peer, spec.peer))
            self.stack = undo.enter_context(Tap(self.dut, spec.dut))
            self._undo.push(undo.pop_all())

    def attach(self, program: Program, mode: Mode) -> None:
        """Puts a program on the DUT, in the place of the one that is there already.

        Raises:
            KernelError: refused.
        """
        if self._attachment is not None and self._attachment.asked == mode.xdp:
            assert self._attachment.link_fd is not None
            xdplink.link_update(self._attachment.link_fd, program.fd)
        else:
            self.detach()
            with self.dut.entered():
                # Not Program.attach: the link is the wire's, and stays when this program is unloaded.
                self._attachment = attach(program.fd, self.spec.dut, mode.xdp)
            self._await_links()

    def detach(self) -> None:
        """Takes the program off. Idempotent."""
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()

    @contextlib.contextmanager
    def mtu(self, size: int) -> Iterator[None]:
        """Both devices with this MTU, and with their own again at the end.

        Raises:
            KernelError: a driver refuses (EINVAL, ERANGE).
        """
        ends = ((self.dut, self.spec.dut), (self.peer, self.spec.peer))
        with contextlib.ExitStack() as undo:
            for namespace, interface in ends:
                before = _set_mtu(namespace, interface, size)
                undo.callback(self._await_links)
                undo.callback(_set_mtu, namespace, interface, before)
            self._await_links()
            yield

    def _await_links(self) -> None:
        if not self._links_flap:
            return
        for namespace, interface in ((self.dut, self.spec.dut), (self.peer, self.spec.peer)):
            deadline = Deadline(LINK_S)
            while _state(namespace, interface) not in ("UP", "UNKNOWN"):
                if deadline.over:
                    hint = "is the cable in, and the other end up?"
                    raise KernelError("wait for link", interface, errno.ETIMEDOUT, hint)
                time.sleep(0.01)

    def close(self) -> None:
        """Detaches the program and closes the taps."""
        self.detach()
        self._undo.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set_mtu(namespace: NetNs, interface: str, size: int) -> int:
    with contextlib.closing(namespace.netlink()) as route:
        index = namespace.interface_index(interface)
        before = int(route.link("get", index=index)[0].get_attr("IFLA_MTU"))
        if before != size:
            with kernel_errors("set MTU", f"{size} on {interface}"):
                route.link("set", index=index, mtu=size)
    return before


def _state(namespace: NetNs, interface: str) -> str:
    with contextlib.closing(namespace.netlink()) as route:
        index = namespace.interface_index(interface)
        return str(route.link("get", index=index)[0].get_attr("IFLA_OPERSTATE"))


class Site:
    """All wires, the first of which most cases use; a context manager.

    Attributes:
        own: the suite made it: queues can be aimed at, there is a second wire.
        wires: one or two.
    """

    def __init__(self, own: bool, wires: tuple[Wire, ...], undo: contextlib.ExitStack) -> None:
        self.own = own
        self.wires = wires
        self._undo = undo

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {"own": self.own, "wires": [asdict(wire.spec) for wire in self.wires]}

    def close(self) -> None:
        """Leaves the devices as they were; own ones are removed."""
        self._undo.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pair(number: int, send_queues: int) -> VethSpec:
    return VethSpec(
        EndSpec("gen", f"gen{number}", f"02:00:00:00:{number:02x}:01", send_queues=send_queues),
        EndSpec("dut", f"dut{number}", f"02:00:00:00:{number:02x}:02"),
        queues=QUEUES,
    )


# What a tap sends by the first pair arrives on queue 0. By the second AF_XDP sockets send on either queue:
# on one beyond those that the device sends on they send nothing, and no error tells (__xsk_generic_xmit()).
TWO_PAIRS = TopologySpec("conformance", (NodeSpec("gen"), NodeSpec("dut")), (_pair(0, 1), _pair(1, 0)))


def own_site(run: str | None = None) -> Site:
    """Two veth pairs between two namespaces, with two queues each.

    Raises:
        KernelError: as from `Topology.build`.
    """
    with contextlib.ExitStack() as undo:
        topology = undo.enter_context(Topology.build(TWO_PAIRS, run=run))
        wires = tuple(
            undo.enter_context(
                Wire(WireSpec(link.b.name, link.a.name, link.queues), topology["dut"], topology["gen"])
            )
            for link in TWO_PAIRS.links
        )
        return Site(True, wires, undo.pop_all())


def twin_site() -> Site:
    """One veth pair between two namespaces, with the same names every time: any two have all names in common.

    Raises:
        KernelError: as from `Topology.build`.
    """
    with contextlib.ExitStack() as undo:
        topology = undo.enter_context(Topology.build(PAIR))
        wire = undo.enter_context(Wire(WireSpec("dut0", "gen0", 1), topology["dut"], topology["gen"]))
        return Site(True, (wire,), undo.pop_all())


def is_unsupported(error: KernelError) -> bool:
    """The device or its driver has no such thing, which is no fault of anybody's."""
    return error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE)
