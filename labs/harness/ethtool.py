# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A device's features, queues and driver counters by ethtool's ioctl: no subprocess.

The ioctl and not ethtool's netlink family: one call sets all features at once, and no family has to be
resolved first in each new namespace. Structures: include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError, KernelError

SIOCETHTOOL = 0x8946
ETHTOOL_GSTRINGS = 0x1B
ETHTOOL_GSTATS = 0x1D
ETHTOOL_GSSET_INFO = 0x37
ETHTOOL_GFEATURES = 0x3A
ETHTOOL_GCHANNELS = 0x3C
ETHTOOL_SCHANNELS = 0x3D
ETHTOOL_SFEATURES = 0x3B
ETH_SS_STATS = 1
ETH_SS_FEATURES = 4
ETH_GSTRING_LEN = 32


@dataclass(frozen=True)
class Channels:
    """A device's queues: for receiving, for sending, for other things, for both ways at once.

    Attributes:
        most: how many of each there can be.
        now: how many of each are in use.
    """

    most: tuple[int, ...]
    now: tuple[int, ...]

    def with_queues(self, count: int) -> tuple[int, ...]:
        """`now` with so many queues each way, as far as there can be so many."""
        receive, send, other, both = self.most
        if both:
            return (0, 0, self.now[2], min(count, both))
        return (min(count, receive), min(count, send), self.now[2] if other else 0, 0)


class Ethtool:
    """The ethtool view of the devices of one namespace; holds one socket; a context manager."""

    def __init__(self, namespace: NetNs) -> None:
        self._socket = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._where = namespace.role
        self._names: dict[tuple[str, int, int], tuple[str, ...]] = {}

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Ethtool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def features(self, interface: str) -> dict[str, bool]:
        """All features by the kernel's names, with whether each is active."""
        names = self._feature_names(interface)
        blocks = self._get_features(interface, len(names))
        return {
            name: bool(blocks[index // 32][2] >> (index % 32) & 1) for index, name in enumerate(names) if name
        }

    def set_features(self, interface: str, wanted: Mapping[str, bool]) -> None:
        """Set features in one call, and read them back.

        A feature that the device does not have, or has in the wanted state already, is passed over.

        Raises:
            KernelError: a feature did not become what was wanted (EOPNOTSUPP: fixed by the driver).
        """
        names = self._feature_names(interface)
        blocks = self._get_features(interface, len(names))
        valid = [0] * len(blocks)
        state = [0] * len(blocks)
        for index, name in enumerate(names):
            if name in wanted:
                valid[index // 32] |= 1 << (index % 32)
                state[index // 32] |= int(wanted[name]) << (index % 32)
        # A bit outside `available` would make the kernel refuse the whole request.
        valid = [bits & block[0] for bits, block in zip(valid, blocks, strict=True)]
        pairs = [value for pair in zip(valid, state, strict=True) for value in pair]
        self._ioctl(interface, struct.pack(f"=II{len(pairs)}I", ETHTOOL_SFEATURES, len(blocks), *pairs))
        active = self.features(interface)
        wrong = [
            f"{name} {'off' if on else 'on'}" for name, on in wanted.items() if active.get(name, on) != on
        ]
        if wrong:
            hint = f"the driver keeps {', '.join(sorted(wrong))}"
            raise KernelError("set features", f"{self._where}/{interface}", errno.EOPNOTSUPP, hint)

    def channels(self, interface: str) -> Channels | None:
        """How many queues the device has in use and could have; None for a driver that does not say."""
        try:
            answer = self._ioctl(interface, struct.pack("=9I", ETHTOOL_GCHANNELS, *[0] * 8))
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return None
        values = struct.unpack("=8I", answer[4:])
        return Channels(values[:4], values[4:])

    def set_channels(self, interface: str, now: Sequence[int]) -> None:
        """Set how many queues the device uses, as `Channels.now` has them.

        Raises:
            KernelError: the driver refuses.
        """
        self._ioctl(interface, struct.pack("=9I", ETHTOOL_SCHANNELS, *[0] * 4, *now))

    def statistics(self, interface: str) -> dict[str, int]:
        """The driver's own counters, as `ethtool -S` shows them; {} for a driver without."""
        # The kernel writes as many values as the driver has now, not as were asked for: count each time.
        count = self._string_count(interface, ETH_SS_STATS)
        if not count:
            return {}
        names = self._strings(interface, ETH_SS_STATS, count)
        answer = self._ioctl(interface, struct.pack("=II", ETHTOOL_GSTATS, count) + bytes(8 * count))
        return dict(zip(names, struct.unpack_from(f"={count}Q", answer, 8), strict=True))

    def _feature_names(self, interface: str) -> tuple[str, ...]:
        count = self._string_count(interface, ETH_SS_FEATURES)
        return self._strings(interface, ETH_SS_FEATURES, count)

    def _get_features(self, interface: str, count: int) -> list[tuple[int, int, int, int]]:
        """Per 32 features: available, requested, active, never changed."""
        blocks = (count + 31) // 32
        request = struct.pack("=II", ETHTOOL_GFEATURES, blocks) + bytes(16 * blocks)
        return list(struct.iter_unpack("=IIII", self._ioctl(interface, request)[8 : 8 + 16 * blocks]))

    def _string_count(self, interface: str, group: int) -> int:
        answer = self._ioctl(interface, struct.pack("=IIQI", ETHTOOL_GSSET_INFO, 0, 1 << group, 0))
        mask, count = struct.unpack_from("=QI", answer, 8)
        return int(count) if mask else 0

    def _strings(self, interface: str, group: int, count: int) -> tuple[str, ...]:
        key = (interface, group, count)
        if key not in self._names:
            request = struct.pack("=III", ETHTOOL_GSTRINGS, group, count) + bytes(ETH_GSTRING_LEN * count)
            names = self._ioctl(interface, request)[12:]
            self._names[key] = tuple(
                names[start : start + ETH_GSTRING_LEN].split(b"\0", 1)[0].decode()
                for start in range(0, ETH_GSTRING_LEN * count, ETH_GSTRING_LEN)
            )
        return self._names[key]

    def _ioctl(self, interface: str, request: bytes) -> bytes:
        buffer = array.array("B", request)
        name = interface.encode()
        if not 0 < len(name) < 16:
            raise InputError(f"interface name {interface!r}: use 1 to 15 characters")
        try:
            fcntl.ioctl(self._socket, SIOCETHTOOL, struct.pack("16sQ16x", name, buffer.buffer_info()[0]))
        except OSError as error:
            command = struct.unpack_from("=I", request)[0]
            raise KernelError(
                f"ethtool command {command:#x}", f"{self._where}/{interface}", error.errno or 0
            ) from error
        return buffer.tobytes()
