# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Kernels to boot: a distribution's package in our cache, this machine's own, or a file of the user's."""

from __future__ import annotations

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from labs.harness.vm.packages import Packages
from xdp.pyxdp.errors import InputError

NEWEST = "newest"
RUNNING = "running"
_series = re.compile(r"\d+\.\d+(\.\d+)?")


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted.

    Attributes:
        release: as `uname -r` will say.
        image: the file that QEMU loads.
        modules: the folder with its modules.dep; None if it has none (all built in).
    """

    release: str
    image: Path
    modules: Path | None


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/xdplab/kernels`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "xdplab" / "kernels"


def find(name: str, *, refresh: bool = False) -> Kernel:
    """The kernel of a name: "6.12", "newest", "running", or a path.

    A series that is in the cache is taken from there; `refresh` asks the distribution for a newer one.

    Raises:
        InputError: there is none, or it cannot be got; says what could be had.
    """
    if name == RUNNING:
        return running()
    if "/" in name or Path(name).is_file():
        return from_file(Path(name))
    if name != NEWEST and not _series.fullmatch(name):
        raise InputError(
            f"--kernel {name}: give a series like 6.12, newest, running, or the path of an image"
        )
    return _from_distribution(name, refresh)


def running() -> Kernel:
    """This machine's own kernel.

    Raises:
        InputError: its image is not in any of the usual places.
    """
    release = platform.release()
    places = (Path(f"/boot/vmlinuz-{release}"), Path(f"/lib/modules/{release}/vmlinuz"))
    for image in places:
        if image.is_file():
            return Kernel(release, image, _modules(Path("/lib/modules") / release))
    looked = " nor at ".join(str(place) for place in places)
    raise InputError(f"the running kernel's image is neither at {looked}; name another kernel, or a path")


def from_file(image: Path) -> Kernel:
    """A kernel image of the user's; its modules are looked for beside it and in /lib/modules.

    Beside it means what `make modules_install INSTALL_MOD_PATH=<its folder>` makes: lib/modules/<release>.

    Raises:
        InputError: this is no image of a Linux kernel for x86.
    """
    release = release_of(image)
    for folder in (image.parent / "lib/modules", image.parent.parent / "lib/modules", Path("/lib/modules")):
        if (folder / release).is_dir():
            return Kernel(release, image.resolve(), _modules(folder / release))
    return Kernel(release, image.resolve(), None)


def release_of(image: Path) -> str:
    """The release that a bzImage names in its header (Documentation/arch/x86/boot.rst, kernel_version).

    Raises:
        InputError: this is no bzImage.
    """
    try:
        head = image.read_bytes()[:65536]
    except OSError as error:
        raise InputError(f"--kernel {image}: {error.strerror}") from None
    if head[0x202:0x206] != b"HdrS":
        raise InputError(
            f"--kernel {image} is no bzImage of a Linux kernel: give arch/x86/boot/bzImage or vmlinuz"
        )
    start = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
    return head[start : head.index(b"\0", start)].split()[0].decode(errors="replace")


def cached() -> list[Kernel]:
    """The distributions' kernels that are in the cache, oldest first."""
    root = cache_root()
    found = []
    for image in sorted(root.glob("*/boot/vmlinuz-*")):
        release = image.name.partition("-")[2]
        if (root / release / ".complete").exists():
            found.append(Kernel(release, image, _modules(root / release / "lib/modules" / release)))
    return sorted(found, key=lambda kernel: numbers(kernel.release))


def available() -> dict[str, str]:
    """Series → newest release of it that the package sources have.

    Raises:
        InputError: the sources cannot be asked.
    """
    newest: dict[str, str] = {}
    for release in sorted(Packages(cache_root()).releases(), key=numbers):
        newest[series_of(release)] = release
    return newest


def numbers(release: str) -> tuple[int, ...]:
    """What releases are ordered by: their numbers ("6.12.100+deb12-amd64" → 6, 12, 100, 12)."""
    return tuple(map(int, re.findall(r"\d+", release.removesuffix("-amd64"))))


def series_of(release: str) -> str:
    """The series of a release: "6.12" of "6.12.100+deb12-amd64"."""
    return ".".join(map(str, numbers(release)[:2]))


def choose(name: str, releases: list[str]) -> str | None:
    """The newest of the releases that a name means: "6.12" or "6.12.90" by whole numbers, "newest" any."""
    wanted = () if name == NEWEST else numbers(name)
    fitting = [release for release in releases if numbers(release)[: len(wanted)] == wanted]
    return max(fitting, key=numbers, default=None)


def _from_distribution(name: str, refresh: bool) -> Kernel:
    # "newest" from the cache would stay at what was newest once.
    in_cache = {kernel.release: kernel for kernel in cached()}
    held = choose(name, list(in_cache))
    if held and not refresh and name != NEWEST:
        return in_cache[held]
    packages = Packages(cache_root())
    try:
        releases = packages.releases(refresh=refresh)
    except InputError:
        if held:  # without a network what is here still boots
            return in_cache[held]
        raise
    release = choose(name, releases)
    if release is None:
        series = sorted({series_of(one) for one in releases}, key=numbers)
        raise InputError(
            f"no package source of this system has a kernel {name}; they have {', '.join(series)}"
        )
    if release not in in_cache:
        packages.fetch(release)
    folder = cache_root() / release
    return Kernel(release, folder / f"boot/vmlinuz-{release}", _modules(folder / "lib/modules" / release))


def _modules(folder: Path) -> Path | None:
    return folder if (folder / "modules.dep").is_file() else None
