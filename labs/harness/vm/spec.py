# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A virtual machine as data, checked when it is made; and the ways in which a run of one can end."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xdp.pyxdp.errors import InputError

Accel = Literal["auto", "kvm", "tcg"]

MAX_CPUS = 64
MEMORY_MIB = (512, 65536)  # below it the root file system's upper layer leaves nothing for the command
MAX_SECONDS = 86_400.0
MAX_NICS = 8
MAX_NIC_QUEUES = 16

MODULES_OF_NIC = {"virtio": "virtio_net", "igb": "igb", "e1000e": "e1000e", "e1000": "e1000"}
"""Models of network cards, and the kernel module that drives each."""


class Outcome(enum.Enum):
    """How a run ended, and its exit code where that is not the command's own.

    124 is what timeout(1) gives. The others lie next to it, below the shell's 126 and 127.
    """

    ENDED = 0
    GONE = 120
    NO_BOOT = 121
    PANIC = 122
    HANG = 123
    TIME_LIMIT = 124


@dataclass(frozen=True)
class NicSpec:
    """One network card of the guest; all of its cards are on one hub or switch, so each hears the others.

    Attributes:
        model: "virtio", "igb", "e1000e" or "e1000".
        iommu: virtio only: the device takes addresses from the DMA API (VIRTIO_F_ACCESS_PLATFORM). Zero-copy
            needs that: without it Linux's driver refuses a pool of AF_XDP buffers.
        queues: virtio only: pairs of a receive and a send queue. Linux uses as many as it has processors.
    """

    model: str = "virtio"
    iommu: bool = False
    queues: int = 1

    def __post_init__(self) -> None:
        if self.model not in MODULES_OF_NIC:
            raise InputError(
                f"no network card is called {self.model!r}; there are {', '.join(MODULES_OF_NIC)}"
            )
        if (self.iommu or self.queues != 1) and self.model != "virtio":
            raise InputError(f"--nic {self}: only virtio has this")
        if not 1 <= self.queues <= MAX_NIC_QUEUES:
            raise InputError(f"--nic {self}: give 1 to {MAX_NIC_QUEUES} queues")

    @classmethod
    def parse(cls, text: str) -> NicSpec:
        """From "virtio", "virtio,iommu", "virtio,iommu,queues=2".

        Raises:
            InputError: it is none of these.
        """
        model, *options = text.split(",")
        given: dict[str, int] = {}
        for option in options:
            name, _, value = option.partition("=")
            if name == "queues" and value.isdecimal():
                given[name] = int(value)
            elif option == "iommu":
                given[name] = True
            else:
                raise InputError(
                    f"--nic {text}: there is no {option!r}; write it like virtio or virtio,iommu,queues=2"
                )
        return cls(model, iommu=bool(given.get("iommu")), queues=given.get("queues", 1))

    def __str__(self) -> str:
        queues = f",queues={self.queues}" if self.queues != 1 else ""
        return self.model + ",iommu" * self.iommu + queues


@dataclass(frozen=True)
class VmSpec:
    """What to boot, and what to run in it.

    Attributes:
        kernel: "6.12" (the distribution's newest of that series), "newest", "running", or a path of an image.
        cpus: processors of the guest.
        memory_mib: its memory; half of it may be used for files that it writes.
        nics: its network cards, in this order eth0, eth1, …
        accel: "kvm", "tcg" (emulation), or "auto": KVM where a guest was seen to run with it.
        cpu: the processor's model; "" for all that the accelerator offers.
        timeout_s: bound on everything from the start of QEMU.
        boot_s: within this the command must have begun.
        beat_s: after so long without a sign of life the guest hangs.
        command_line: further parameters of the kernel.
    """

    kernel: str = "newest"
    cpus: int = 2
    memory_mib: int = 2048
    nics: tuple[NicSpec, ...] = ()
    accel: Accel = "auto"
    cpu: str = ""
    timeout_s: float = 1800.0
    boot_s: float = 120.0
    beat_s: float = 60.0
    command_line: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.cpus <= MAX_CPUS:
            raise InputError(f"--cpus {self.cpus}: give 1 to {MAX_CPUS}")
        least, most = MEMORY_MIB
        if not least <= self.memory_mib <= most:
            raise InputError(f"--memory {self.memory_mib}: give {least} to {most} MiB")
        if len(self.nics) > MAX_NICS:
            raise InputError(f"{len(self.nics)} network cards: give at most {MAX_NICS}")
        if self.accel not in get_args(Accel):
            raise InputError(f"--accel {self.accel}: give {', '.join(get_args(Accel))}")
        for option, seconds in (
            ("--timeout", self.timeout_s),
            ("--boot-timeout", self.boot_s),
            ("--hang", self.beat_s),
        ):
            if not 1 <= seconds <= MAX_SECONDS:
                raise InputError(f"{option} {seconds:g}: give 1 to {MAX_SECONDS:g} seconds")

    def to_dict(self) -> dict[str, Any]:
        """For the result's JSON."""
        return {**dataclasses.asdict(self), "nics": [str(nic) for nic in self.nics]}
