# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""QEMU's command line: pure text, so that it can be looked at without a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from labs.harness.vm.kernels import Kernel
from labs.harness.vm.spec import NicSpec, VmSpec

PROGRAM = "qemu-system-x86_64"
PORTS = ("control", "stdout", "stderr")
"""The guest's channels to us, beside its console; each a virtio-serial port of the name xdplab.<port>."""

# Of the guest's kernel: no predictable names for cards, no mitigations (system calls are slow enough in
# emulation), no self-tests; no panic because no tick came while QEMU was not let run ("IO-APIC + timer
# doesn't work!"); a panic ends the machine, as QEMU does not reboot it.
COMMAND_LINE = (
    "console=ttyS0 rdinit=/init panic=-1 oops=panic net.ifnames=0 mitigations=off cryptomgr.notests "
    "no_timer_check random.trust_cpu=on loglevel=5 printk.time=1"
)


def command(
    spec: VmSpec,
    kernel: Kernel,
    *,
    accel: str,
    initramfs: str,
    fds: Mapping[str, int],
    results: Path | None,
    taps: Sequence[Sequence[int]] = (),
) -> list[str]:
    """The whole command.

    Args:
        spec: the machine.
        kernel: what it boots.
        accel: "kvm" or "tcg".
        initramfs: path of the archive.
        fds: connected sockets, for "console" and for each of `PORTS`.
        results: the folder that is shared for writing; None for none.
        taps: for each card the descriptors of a TAP, one for each of its queues; without, all are on a hub.
    """
    cpu = spec.cpu or ("host" if accel == "kvm" else "max")
    words = [PROGRAM, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    words += ["-machine", "q35", "-accel", accel, "-cpu", cpu]
    words += ["-smp", str(spec.cpus), "-m", f"{spec.memory_mib}M"]
    words += ["-kernel", str(kernel.image), "-initrd", initramfs]
    words += ["-append", f"{COMMAND_LINE} {spec.command_line}".strip()]
    words += ["-chardev", f"socket,id=console,fd={fds['console']}", "-serial", "chardev:console"]
    words += ["-device", "virtio-serial-pci"]
    for port in PORTS:
        words += ["-chardev", f"socket,id={port},fd={fds[port]}"]
        words += ["-device", f"virtserialport,chardev={port},name=xdplab.{port}"]
    words += _shared("root", Path("/"), readonly=True)
    if results is not None:
        words += _shared("results", results, readonly=False)
    for place, nic in enumerate(spec.nics):
        words += _card(place, nic, taps[place] if taps else ())
    return words


def _shared(tag: str, folder: Path, *, readonly: bool) -> list[str]:
    path = str(folder).replace(",", ",,")
    options = ",readonly=on" if readonly else ""
    # remap: other file systems are mounted below it, and their inode numbers must not collide
    return [
        "-fsdev",
        f"local,id={tag},path={path},security_model=none,multidevs=remap{options}",
        "-device",
        f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]


def _card(place: int, nic: NicSpec, tap: Sequence[int]) -> list[str]:
    """A card on what all of the guest's cards share; the host's network is not on it."""
    model = "virtio-net-pci" if nic.model == "virtio" else nic.model
    options = f"{model},netdev=net{place},mac={mac(place)},romfile="
    if nic.model == "virtio":
        options += ",disable-legacy=on" + (",iommu_platform=on" if nic.iommu else "")
    if nic.queues > 1:
        # An interrupt for each queue's two directions, for the control queue, for changes of the settings.
        options += f",mq=on,vectors={2 * nic.queues + 2}"
    ends = f"hubport,id=net{place},hubid=0"
    if tap:
        ends = f"tap,id=net{place},vhost=off,fds={':'.join(map(str, tap))}"
    return ["-netdev", ends, "-device", options]


def mac(place: int) -> str:
    """The Ethernet address of the guest's card number `place`."""
    return f"02:00:00:00:05:{place:02x}"
