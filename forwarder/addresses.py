# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""MAC and IP addresses as people write them, and as the C core takes them."""

from __future__ import annotations

import re

from xdp.pyxdp.errors import InputError

ADDRESSES_MAX = 8  # ACTION_ADDRESSES, csrc/actions.h


def mac_bytes(address: str, option: str) -> bytes:
    """The 6 bytes of an address written aa:bb:cc:dd:ee:ff; nothing for "".

    Raises:
        InputError: it is not written so.
    """
    if not address:
        return b""
    if not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", address):
        raise InputError(f"{option} {address}: write a MAC address as aa:bb:cc:dd:ee:ff")
    return bytes.fromhex(address.replace(":", ""))


def ip_bytes(addresses: tuple[str, ...]) -> tuple[bytes, bytes]:
    """All IPv4 addresses (4 bytes each) and all IPv6 addresses (16 bytes each), packed.

    Raises:
        InputError: not an address, or too many.
    """
    import ipaddress  # rarely needed, and dear at start

    packed: tuple[list[bytes], list[bytes]] = ([], [])
    for address in addresses:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError as error:
            raise InputError(f"--respond-ip {address}: write an IPv4 or IPv6 address") from error
        packed[parsed.version == 6].append(parsed.packed)
    if max(map(len, packed)) > ADDRESSES_MAX:
        raise InputError(f"--respond-ip: at most {ADDRESSES_MAX} addresses of each kind")
    return b"".join(packed[0]), b"".join(packed[1])
