# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Attaching XDP programs to devices: by bpf_link, by netlink, and what a device has attached."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os

from ._native import LinkCreateOpts, XdpAttachOpts, XdpQueryOpts, libbpf
from .errors import KernelError

# XDP_FLAGS_*, linux/if_link.h
FLAGS_UPDATE_IF_NOEXIST = 1 << 0
FLAGS_GENERIC = 1 << 1
FLAGS_NATIVE = 1 << 2
FLAGS_HW = 1 << 3
_BPF_XDP = 37  # enum bpf_attach_type, linux/bpf.h
# XDP_ATTACHED_*, linux/if_link.h
_MODES = {0: "none", 1: "native", 2: "generic", 3: "hardware", 4: "several"}


@dataclasses.dataclass(frozen=True)
class Attached:
    """What a device has attached: mode (none, native, generic, hardware, several) and program id."""

    mode: str
    prog_id: int


def _hint(number: int, flags: int) -> str:
    if number == errno.EBUSY:
        return "another XDP program is attached already: detach it, or use another device"
    if number == errno.EEXIST:
        return "a program is attached in the other mode (native or generic): detach it first"
    if number in (errno.EOPNOTSUPP, errno.EINVAL) and flags & FLAGS_NATIVE:
        return "the driver refuses native XDP: MTU too large for a program without frags, or LRO on"
    if number == errno.EPERM:
        return "needs CAP_NET_ADMIN and CAP_BPF: run as root"
    if number == errno.ENODEV:
        return "no such device in this network namespace"
    return ""


def link_create(prog_fd: int, ifindex: int, flags: int = 0) -> int:
    """Attaches by a bpf_link, which ends with its last fd; gives that fd, the caller's to close.

    The device is looked up in the calling thread's network namespace. XDP links exist since Linux 5.9.

    Raises:
        KernelError: EBUSY something is attached, EINVAL the driver refuses, ENODEV no such device.
    """
    options = LinkCreateOpts(ctypes.sizeof(LinkCreateOpts), flags)
    fd: int = libbpf().bpf_link_create(prog_fd, ifindex, _BPF_XDP, ctypes.byref(options))
    if fd < 0:
        raise KernelError("attach XDP program by link", f"ifindex {ifindex}", fd, hint=_hint(-fd, flags))
    os.set_inheritable(fd, False)
    return fd


def link_update(link_fd: int, prog_fd: int) -> None:
    """Puts another program in the place of the attached one; no packet meets a device without a program.

    Raises:
        KernelError: the driver refuses the new program (EINVAL: no frags, and the MTU is too large for it).
    """
    result = libbpf().bpf_link_update(link_fd, prog_fd, None)
    if result:
        raise KernelError(
            "replace XDP program", f"link fd {link_fd}", result, hint=_hint(-result, FLAGS_NATIVE)
        )


def netlink_attach(prog_fd: int, ifindex: int, flags: int = 0) -> None:
    """Attaches by netlink: the program stays until it is detached or the device goes.

    Raises:
        KernelError: as `link_create`.
    """
    result = libbpf().bpf_xdp_attach(ifindex, prog_fd, flags | FLAGS_UPDATE_IF_NOEXIST, None)
    if result:
        raise KernelError(
            "attach XDP program by netlink", f"ifindex {ifindex}", result, hint=_hint(-result, flags)
        )


def netlink_detach(ifindex: int, flags: int = 0, expected_prog_fd: int = 0) -> None:
    """Detaches what netlink attached; with `expected_prog_fd` only if it is that program."""
    options = XdpAttachOpts(ctypes.sizeof(XdpAttachOpts), expected_prog_fd)
    result = libbpf().bpf_xdp_detach(ifindex, flags, ctypes.byref(options) if expected_prog_fd else None)
    if result and result not in (-errno.ENODEV, -errno.ENOENT):
        raise KernelError("detach XDP program", f"ifindex {ifindex}", result)


def query(ifindex: int) -> Attached:
    """What the device has attached now, as the kernel says.

    Raises:
        KernelError: ENODEV.
    """
    options = XdpQueryOpts(ctypes.sizeof(XdpQueryOpts))
    result = libbpf().bpf_xdp_query(ifindex, 0, ctypes.byref(options))
    if result:
        raise KernelError("query XDP attachment", f"ifindex {ifindex}", result, hint=_hint(-result, 0))
    several = options.drv_prog_id or options.skb_prog_id or options.hw_prog_id
    return Attached(_MODES.get(options.attach_mode, str(options.attach_mode)), options.prog_id or several)
