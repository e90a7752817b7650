# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Kernel packages by apt, beside the system's own apt: own sources, lists and caches; nothing is installed.

Lists and packages lie below our cache folder. Packages are unpacked there, never configured: no boot loader,
no initramfs, nothing in /boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from labs.harness.vm.sources import EXTRA, extra_sources, kernel_sources, system_sources
from labs.harness.vm.tools import find, need
from xdp.pyxdp.errors import InputError

LIST_AGE_S = 86_400.0
APT_SECONDS = 300.0
# Debian's signed and unsigned images, Ubuntu's; neither -cloud (no 9p in them), nor -rt, -dbg, -lowlatency.
_image = re.compile(r"linux-image-(?:unsigned-)?(?P<release>\d+\.\d+[0-9.+a-z~-]*?-(?:amd64|generic))")
_flavours = ("-cloud-", "-rt-", "-unsigned")


class Packages:
    """The kernel packages that this system's package sources offer.

    Args:
        root: the cache: `apt/` below it is ours, and `<release>/` an unpacked kernel.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._apt = root / "apt"

    def releases(self, *, refresh: bool = False) -> list[str]:
        """All kernels that can be got.

        Raises:
            InputError: there is no apt, or it knows no source of kernels.
        """
        return sorted(self._images(refresh))

    def fetch(self, release: str) -> Path:
        """Gets a kernel and unpacks it into `<root>/<release>`, whole or not at all.

        Raises:
            InputError: it cannot be got.
        """
        need("depmod", "dpkg")
        target = self.root / release
        with self._alone():
            if (target / ".complete").exists():
                return target
            work = self.root / f".{release}.partial"
            shutil.rmtree(work, ignore_errors=True)
            (work / "packages").mkdir(parents=True)
            try:
                self._unpack(release, work)
                (work / ".complete").touch()
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return target

    def _unpack(self, release: str, work: Path) -> None:
        names = [self._images(False)[release], *self._parts(release)]
        self._run(["apt-get", "download", *names], f"get the kernel {release}", folder=work / "packages")
        for package in sorted((work / "packages").glob("*.deb")):
            self._run(["dpkg", "-x", str(package), str(work)], f"unpack {package.name}", options=False)
            package.unlink()
        for place in ("usr/share", "usr/lib/debug"):  # manuals: nothing that boots
            shutil.rmtree(work / place, ignore_errors=True)
        merged = work / "usr/lib/modules"
        if merged.is_dir():  # newer packages use the merged /usr
            (work / "lib").mkdir(exist_ok=True)
            merged.rename(work / "lib/modules")
        beside_modules, image = work / f"lib/modules/{release}/vmlinuz", work / f"boot/vmlinuz-{release}"
        if beside_modules.is_file() and not image.exists():
            image.parent.mkdir(exist_ok=True)
            beside_modules.rename(image)
        (work / "packages").rmdir()
        self._run(["depmod", "-b", str(work), release], f"index the modules of {release}", options=False)

    def _parts(self, release: str) -> list[str]:
        """Packages of the same release that the image needs: Ubuntu has several, Debian too since 7.0."""
        parts = ("base", "binary", "modules", "modules-extra")
        wanted = tuple(f"linux-{part}-{release}" for part in parts)
        known = set(self._run(["apt-cache", "pkgnames", "linux-"], "ask for packages").split())
        return [name for name in wanted if name in known]

    def _images(self, refresh: bool) -> dict[str, str]:
        """Release → package."""
        need("apt-get", "apt-cache")
        self._update(refresh)
        names = self._run(["apt-cache", "pkgnames", "linux-image-"], "ask for kernels").split()
        images: dict[str, str] = {}
        for name in sorted(
            names
        ):  # "linux-image-6…" before "linux-image-unsigned-6…": the signed one loses nothing
            found = _image.fullmatch(name)
            if found and not any(flavour in found["release"] for flavour in _flavours):
                images.setdefault(found["release"], name)
        if not images:
            raise InputError(
                "this system's package sources offer no kernels (only Debian's and Ubuntu's are known); "
                f"name a kernel image by its path, or a file with sources of your own by {EXTRA}"
            )
        return images

    def _update(self, refresh: bool) -> None:
        try:
            further = extra_sources()
        except OSError as error:
            raise InputError(f"{EXTRA}: {error}") from None
        text = "".join(f"{source}\n" for source in [*kernel_sources(system_sources()), *further])
        listing, stamp = self._apt / "sources.list", self._apt / "updated"
        with contextlib.suppress(OSError):
            fresh = time.time() - stamp.stat().st_mtime < LIST_AGE_S
            if fresh and not refresh and listing.read_text() == text:
                return
        with self._alone():
            (self._apt / "lists/partial").mkdir(parents=True, exist_ok=True)
            (self._apt / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
            stamp.unlink(missing_ok=True)
            listing.write_text(text)
            # A suite that a mirror does not carry is no failure, as long as others are there.
            self._run(["apt-get", "-q", "update"], "read the package lists", check=False)
            stamp.touch()

    def _run(
        self,
        command: Sequence[str],
        what: str,
        *,
        folder: Path | None = None,
        options: bool = True,
        check: bool = True,
    ) -> str:
        program, *rest = command
        settings = self._settings() if options else []
        try:
            done = subprocess.run(
                [find(program) or program, *settings, *rest],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=APT_SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"could not {what}: no end after {APT_SECONDS:g} s; is there a network?"
            ) from None
        if check and done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise InputError(f"could not {what}: {last}")
        return done.stdout

    def _settings(self) -> list[str]:
        settings = {
            "Dir::Etc::sourcelist": self._apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": self._apt / "lists",
            "Dir::Cache": self._apt / "cache",
            "APT::Sandbox::User": "root",  # the user _apt may not look into a home folder
            "Acquire::Languages": "none",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands may want a kernel at once."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
