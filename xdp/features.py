# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel offers for XDP and AF_XDP: each feature is tried, none is guessed from a version."""

from __future__ import annotations

import dataclasses
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

from . import feature_tries as tries
from .device_features import zero_copy_devices
from .program import Program, ProgramSpec
from .pyxdp import probe, xsk
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError
from .pyxdp.kernel import MapType, ProgType


@dataclasses.dataclass(frozen=True)
class Feature:
    """A feature, whether it is there, and if not why not."""

    name: str
    purpose: str
    available: bool
    reason: str


def _root() -> None:
    if os.geteuid() != 0:
        raise InputError("you are not root: use sudo")


def _af_xdp() -> None:
    socket.socket(xsk.AF_XDP, socket.SOCK_RAW).close()


def _xdp() -> None:
    Program.load(ProgramSpec("xdp_pass")).close()


def _xskmap() -> None:
    if not probe.map_type(MapType.XSKMAP):
        raise InputError("the kernel creates no map of type XSKMAP (CONFIG_XDP_SOCKETS)")


def _btf() -> None:
    with Btf() as btf:
        btf.members("xdp_sock")


def _reader() -> None:
    if not probe.prog_type(ProgType.RAW_TRACEPOINT):
        raise InputError("the kernel loads no raw tracepoint programs")


def _ring_buffer() -> None:
    if not probe.map_type(MapType.RINGBUF):
        raise InputError("the kernel creates no ring buffers (Linux 5.8)")


def _ext() -> None:
    if not probe.prog_type(ProgType.EXT):
        raise InputError("programs of type EXT are refused")


def _zero_copy() -> None:
    if not zero_copy_devices():
        raise InputError(
            "no device here has a driver that knows it: try xdplab vm run --nic virtio --nic virtio,iommu"
        )


def _huge_pages() -> None:
    free = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    if not free:
        raise InputError("none are reserved: sysctl vm.nr_hugepages=64")
    mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000).close()  # MAP_HUGETLB


PROBES: dict[str, tuple[str, Callable[[], None]]] = {
    "root": ("programs, namespaces and AF_XDP sockets need it", _root),
    "af_xdp": ("AF_XDP sockets", _af_xdp),
    "xdp": ("XDP programs load", _xdp),
    "xskmap": ("maps of AF_XDP sockets", _xskmap),
    "btf": ("the kernel describes its own structures", _btf),
    "raw_tracepoint": ("with BTF: XSKMAPs can be read", _reader),
    "ring_buffer": ("events from BPF programs", _ring_buffer),
    "ext": ("programs that replace a function of another one", _ext),
    "dispatcher": ("several XDP programs on one device, by libxdp", tries.several_programs),
    "fentry": ("programs at the entry of the kernel's functions", lambda: tries.trampoline("fentry")),
    "fexit": ("programs at their end, with what they returned", lambda: tries.trampoline("fexit")),
    "kprobe": ("programs at any place of the kernel", tries.kprobe),
    "xdp_link": ("XDP programs that end with their owner (bpf_link)", tries.xdp_link),
    "tcx": ("tc programs by bpf_link", tries.tcx),
    "live_frames": ("`xdplab send`: frames made inside the kernel", tries.live_frames),
    "xdp_frags": ("XDP programs for frames in several buffers", tries.multi_buffer),
    "xsk_frags": ("AF_XDP packets in several frames (XDP_USE_SG)", tries.socket_multi_buffer),
    "atomics": ("`xdplab sink`: programs that change a word and get what it was", tries.atomics),
    "rx_metadata": ("the driver's hints for a received frame", tries.rx_metadata),
    "tx_metadata": ("AF_XDP time stamps and checksums for sending", tries.tx_metadata),
    "busy_poll": ("sockets that receive while they are asked, without interrupts", tries.busy_poll),
    "tx_budget": ("more than 32 frames a system call in copy mode", tries.tx_budget),
    "zero_copy_driver": ("AF_XDP without copies; if it is granted, a bind tells", _zero_copy),
    "huge_pages": ("UMEM on huge pages", _huge_pages),
}


def feature(name: str) -> Feature:
    """Tries one feature.

    Raises:
        InputError: no feature is called so.
    """
    if name not in PROBES:
        raise InputError(f"no feature is called {name!r}; there are {', '.join(PROBES)}")
    purpose, attempt = PROBES[name]
    try:
        attempt()
    except (OSError, InputError, KernelError) as error:
        return Feature(name, purpose, False, str(error))
    return Feature(name, purpose, True, "")


def features() -> list[Feature]:
    """Tries them all."""
    return [feature(name) for name in PROBES]
