# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the guest starts from: busybox, modules for its files and cards, and the command that it is to run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labs.harness.vm import modules
from labs.harness.vm.cpio import Archive
from labs.harness.vm.kernels import Kernel
from labs.harness.vm.spec import MODULES_OF_NIC, NicSpec
from labs.harness.vm.tools import static_busybox

SCRIPTS = Path(__file__).parent / "guest"
NEEDED = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")
APPLETS = ("sh", "cat", "cp", "echo", "insmod", "mkdir", "mount", "sleep", "switch_root")


@dataclass(frozen=True)
class Errand:
    """What the guest is to do.

    Attributes:
        command: the command with its arguments.
        environment: all of its environment.
        folder: where it runs.
        results: the folder that host and guest share; None for none.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    results: Path | None

    def script(self) -> bytes:
        """As a shell script that becomes the command."""
        lines = ["#!/bin/sh"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in self.environment.items()]
        lines += [f"cd {shlex.quote(str(self.folder))} || exit 2", f"exec {shlex.join(self.command)}"]
        return "\n".join(lines).encode() + b"\n"

    def settings(self, kernel: Kernel) -> bytes:
        """What the guest's own script reads beside it."""
        values = {
            "MODULES": str(kernel.modules or ""),
            "RELEASE": kernel.release,
            "RESULTS": str(self.results or ""),
        }
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()).encode()


def build(kernel: Kernel, nics: Sequence[NicSpec], errand: Errand | None) -> bytes:
    """The archive; without an errand one that only says that it is alive, and powers off.

    Raises:
        InputError: the kernel lacks a module that is needed, or busybox is missing.
    """
    archive = Archive()
    for folder in ("bin", "dev", "proc", "sys", "modules", "lower", "upper", "root", "errand"):
        archive.folder(folder)
    # The kernel opens it for the first process, before any script could mount /dev.
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", static_busybox().read_bytes(), executable=True)
    for applet in APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    archive.file("init", (SCRIPTS / "init.sh").read_bytes(), executable=True)
    if errand is None:
        return archive.data
    if kernel.modules is not None:
        wanted = [*NEEDED, *(MODULES_OF_NIC[nic.model] for nic in nics)]
        for place, module in enumerate(modules.resolve(kernel.modules, wanted)):
            name = module.name.partition(".ko")[0]
            archive.file(f"modules/{place:03}-{name}.ko", modules.content(module))
    archive.file("errand/guest", (SCRIPTS / "guest.sh").read_bytes(), executable=True)
    archive.file("errand/settings", errand.settings(kernel))
    archive.file("errand/command", errand.script(), executable=True)
    return archive.data
