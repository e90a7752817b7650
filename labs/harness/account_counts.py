# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the account reads out of a run's counters: by place, by queue, by driver, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labs.harness.ledger import Fate, Hop

# virtio_net's names where they are others than veth's; its queues are "rx0_…", veth's "rx_queue_0_…".
_VIRTIO = {"xdp_redirect": "xdp_redirects"}


@dataclass(frozen=True)
class Route:
    """The devices along a pipeline.

    Attributes:
        sender: the sender's device.
        ingress: the device with the program.
        egress: the device that the forwarder sends out of.
        arrival: the device at the other end of it.
        native: the program is attached in native mode: then the driver counts redirects itself, and the
            program's count is held against the driver's.
    """

    sender: str = "gen0"
    ingress: str = "dut0"
    egress: str = "dut0"
    arrival: str = "gen0"
    native: bool = True


def make_hop(name: str, entered: int, fates: Mapping[str, int], onward: int, seen_by: str = "") -> Hop:
    """A hop whose fates are names and counts."""
    return Hop(name, entered, tuple(Fate(fate, count) for fate, count in fates.items()), onward, seen_by)


def matching(counted: Mapping[str, int], pattern: re.Pattern[str]) -> dict[str, int]:
    """Frames by what the pattern's first group finds in the names, added up."""
    found: dict[str, int] = {}
    for name, count in counted.items():
        match = pattern.fullmatch(name)
        if match and count > 0:
            found[match[1]] = found.get(match[1], 0) + count
    return found


def named(counted: Mapping[str, int], device: str, kind: str) -> dict[str, int]:
    """Name → frames of one kind of event at a device: "skb", "redirect_err" or "exception"."""
    return matching(counted, re.compile(rf"kernel_[a-z0-9]+_{re.escape(device)}_{kind}_(.+)"))


def of(counted: Mapping[str, int], where: str) -> dict[str, int]:
    """The counters of one place, without its name."""
    prefix = where + "_"
    return {name.removeprefix(prefix): count for name, count in counted.items() if name.startswith(prefix)}


def queues(counted: Mapping[str, int], interface: str, counter: str) -> int:
    """A counter of `ethtool -S` summed over the RX queues of a device, by veth's name of it or virtio's."""
    other = _VIRTIO.get(counter, counter)
    pattern = re.compile(rf"{re.escape(interface)}_(?:rx_queue_\d+_{counter}|rx\d+_{other})")
    return sum(count for name, count in counted.items() if pattern.fullmatch(name))


def sent_out(counted: Mapping[str, int], device: str) -> int:
    """Frames that a device sent; those of zero-copy virtio counts as XDP's, and not in the link's counter."""
    pattern = re.compile(rf"{re.escape(device)}_tx\d+_xdp_tx")
    without_copy = sum(count for name, count in counted.items() if pattern.fullmatch(name))
    return without_copy or counted[f"{device}_tx_packets"]


def is_virtio(counted: Mapping[str, int], device: str) -> bool:
    """Are the device's counters named as virtio_net names them?"""
    return f"{device}_rx0_xdp_packets" in counted


def at_least_0(count: int) -> int:
    """A socket that is gone took its counters with it: what it had counted shows as a break, not as less."""
    return max(count, 0)
