# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Snapshots of counters from all places, and their differences: what a test asserts is always a difference.

Names are flat, `<where>_<what>`: "gen0_tx_packets" (the link's own counters), "dut0_rx_queue_0_xdp_packets"
(the driver's, as `ethtool -S` has them), "xdp_redirected" (what a source added under the name "xdp" returns).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType

from labs.harness import qdisc
from labs.harness.ethtool import Ethtool
from labs.harness.netns import NetNs
from labs.harness.patience import patient
from xdp.pyxdp import xsk
from xdp.pyxdp.errors import InputError, KernelError

# include/uapi/linux/rtnetlink.h, if_link.h
RTM_GETSTATS = 94
RTM_NEWSTATS = 92
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
IFLA_STATS_LINK_64 = 1
# struct rtnl_link_stats64, all u64
LINK_COUNTERS = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
    "rx_otherhost_dropped",
)
NOT_COUNTERS = ("peer_ifindex",)  # veth shows it among its statistics

Source = Callable[[], Mapping[str, int]]


class _Named(Mapping[str, int]):
    """Counters by name; a name that does not exist is answered with those that do."""

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = MappingProxyType(dict(values))

    def __getitem__(self, name: str) -> int:
        return _look_up(self._values, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Snapshot(_Named):
    """All counters at about one moment; subtract an earlier one to get a `Delta`."""

    def __init__(self, values: Mapping[str, int], time_ns: int) -> None:
        super().__init__(values)
        self.time_ns = time_ns

    def __sub__(self, before: Snapshot) -> Delta:
        """What has been counted since; a counter that did not exist before began at 0."""
        values = {name: value - before._values.get(name, 0) for name, value in self._values.items()}
        gone = {name: -value for name, value in before._values.items() if name not in self._values}
        return Delta({**values, **gone}, self.time_ns - before.time_ns)

    def __repr__(self) -> str:
        return f"Snapshot({len(self)} counters, {sum(1 for value in self.values() if value)} not 0)"


class Delta(_Named):
    """What was counted between two snapshots.

    Attributes:
        duration_ns: between them.
    """

    def __init__(self, values: Mapping[str, int], duration_ns: int) -> None:
        super().__init__(values)
        self.duration_ns = duration_ns

    @property
    def changed(self) -> dict[str, int]:
        """Only those that moved: what must not move is asserted by what is absent here."""
        return {name: value for name, value in self._values.items() if value}

    def of(self, where: str) -> dict[str, int]:
        """The counters of one place, without its name: `delta.of("gen0")["tx_packets"]`."""
        prefix = where + "_"
        return {name[len(prefix) :]: value for name, value in self._values.items() if name.startswith(prefix)}

    def total(self, where: str, what: str) -> int:
        """Sum over all queues: `delta.total("dut0", "xdp_drops")` adds up dut0_rx_queue_N_xdp_drops."""
        middle = ("rx_queue_", "tx_queue_")
        return sum(
            value
            for name, value in self.of(where).items()
            if name.startswith(middle) and name.split("_", 3)[3] == what
        )

    def __repr__(self) -> str:
        moved = ", ".join(f"{name}={value}" for name, value in self.changed.items())
        return f"Delta({moved or 'nothing moved'})"


class Counters:
    """Where to count; a context manager. Sockets are opened once: a snapshot costs microseconds a device."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self._sources: dict[str, Source] = {}
        self._netlink: dict[int, socket.socket] = {}
        self._ethtool: dict[int, Ethtool] = {}

    def add(self, where: str, source: Source) -> None:
        """Count whatever `source()` returns as `<where>_<name>`: a program's counters, a forwarder's, any.

        Raises:
            InputError: the name is taken.
        """
        if where in self._sources:
            raise InputError(f"there are counters named {where!r} already: choose another name")
        self._sources[where] = source

    def add_interface(self, namespace: NetNs, interface: str) -> None:
        """Count an interface: the link's 64-bit counters and the driver's own.

        If it has a queue (qdisc), what that drops is counted as "qdisc_drops"; a veth has none.

        Raises:
            InputError: there is no such interface, or its name is taken.
        """
        index = namespace.interface_index(interface)
        if namespace.inode not in self._netlink:
            # The sockets stay open after this; what asks through them is bound to that namespace for good.
            netlink = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._undo.callback(netlink.close)
            self._netlink[namespace.inode] = netlink
            self._ethtool[namespace.inode] = self._undo.enter_context(Ethtool(namespace))
        netlink, ethtool = self._netlink[namespace.inode], self._ethtool[namespace.inode]

        queued = qdisc.drops(netlink, index) is not None

        def read() -> dict[str, int]:
            values = link_statistics(netlink, index, interface)
            values.update(ethtool.statistics(interface))
            if queued:
                values["qdisc_drops"] = qdisc.drops(netlink, index) or 0
            for name in NOT_COUNTERS:
                values.pop(name, None)
            return values

        self.add(interface, read)

    def add_xsk(self, where: str, fd: int) -> None:
        """Count an AF_XDP socket's XDP_STATISTICS."""
        self.add(where, lambda: xsk.statistics(fd))

    def remove(self, where: str) -> None:
        """Count it no longer. Idempotent."""
        self._sources.pop(where, None)

    def snapshot(self) -> Snapshot:
        """Read everything, in the order in which it was added.

        Raises:
            KernelError: a device is gone.
        """
        values: dict[str, int] = {}
        for where, source in self._sources.items():
            for what, value in source().items():
                values[f"{where}_{what}"] = value
        return Snapshot(values, time.monotonic_ns())

    def settle(
        self, quiet_s: float = 0.02, timeout_s: float = 2.0, *, ignore: Callable[[str], bool] | None = None
    ) -> Snapshot:
        """Snapshots until nothing has moved for `quiet_s`: frames under way have arrived.

        Args:
            quiet_s: how long nothing must move.
            timeout_s: bound on the whole.
            ignore: names of counters that may move for ever, such as those of idle polls.

        Raises:
            TimeoutError: names what still moved.
        """
        quiet_s, timeout_s = patient(quiet_s), patient(timeout_s)
        deadline = time.monotonic() + timeout_s
        last = self.snapshot()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < quiet_s:
            time.sleep(min(0.002, quiet_s / 4))
            now = self.snapshot()
            moved = [name for name in (now - last).changed if not (ignore and ignore(name))]
            if moved:
                quiet_since = time.monotonic()
                if quiet_since > deadline:
                    raise TimeoutError(f"counters still move after {timeout_s:g} s: {', '.join(moved)}")
            last = now
        return last

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        self._sources.clear()
        self._netlink.clear()
        self._ethtool.clear()
        self._undo.close()

    def __enter__(self) -> Counters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def link_statistics(netlink: socket.socket, index: int, name: str = "") -> dict[str, int]:
    """The link's `rtnl_link_stats64` by RTM_GETSTATS: one small question and answer, nothing else decoded.

    Raises:
        KernelError: there is no such link (any more).
    """
    message = struct.pack("=BBHII", 0, 0, 0, index, 1 << (IFLA_STATS_LINK_64 - 1))  # struct if_stats_msg
    netlink.send(struct.pack("=IHHII", 16 + len(message), RTM_GETSTATS, NLM_F_REQUEST, 0, 0) + message)
    answer = netlink.recv(4096)
    kind = struct.unpack_from("=H", answer, 4)[0]
    if kind == NLMSG_ERROR:
        raise KernelError("read counters", name or f"link {index}", -struct.unpack_from("=i", answer, 16)[0])
    length, attribute = struct.unpack_from("=HH", answer, 28)
    if kind != RTM_NEWSTATS or attribute != IFLA_STATS_LINK_64:
        raise KernelError("read counters", name or f"link {index}", errno.EPROTO)
    count = min((length - 4) // 8, len(LINK_COUNTERS))  # older kernels know fewer
    return dict(zip(LINK_COUNTERS, struct.unpack_from(f"={count}Q", answer, 32), strict=False))


def _look_up(values: Mapping[str, int], name: str) -> int:
    try:
        return values[name]
    except KeyError:
        where = name.split("_", 1)[0]
        known = sorted(other for other in values if other.startswith(where + "_")) or sorted(values)
        raise KeyError(f"no counter {name!r}; there is {', '.join(known[:40])}") from None
