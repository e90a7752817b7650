# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which kernel modules are inserted, in which order, as modules.dep(5) has it; and their plain content."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from collections.abc import Iterable
from pathlib import Path

from labs.harness.vm.tools import need
from xdp.pyxdp.errors import InputError


def resolve(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of these modules and of what they need, each after what it needs; without built-in ones.

    Args:
        folder: /lib/modules/<release> of the kernel.
        names: of modules, "virtio_net".

    Raises:
        InputError: the kernel has no such module, neither built in nor as a file.
    """
    paths, needs = _dependencies(folder)
    built_in = {_name(Path(line)) for line in _lines(folder / "modules.builtin")}
    order: list[Path] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name in built_in:
            return
        if name not in paths:
            raise InputError(
                f"the kernel {folder.name} has no module {name}: it cannot be booted here (a cloud kernel "
                "lacks 9p, a minimal one virtio); choose another, or build it with that"
            )
        seen.add(name)
        for other in needs[name]:
            visit(other)
        order.append(folder / paths[name])

    for name in names:
        visit(name.replace("-", "_"))
    return order


def content(module: Path) -> bytes:
    """A module as the kernel takes it without help: uncompressed.

    Raises:
        InputError: its compression is not known here.
    """
    data = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(data)
    if module.suffix == ".gz":
        return gzip.decompress(data)
    if module.suffix == ".zst":
        need("zstd")
        return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True).stdout
    if module.suffix != ".ko":
        raise InputError(f"{module}: neither .ko nor .ko.xz, .gz or .zst")
    return data


def _dependencies(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    paths: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    for line in _lines(folder / "modules.dep"):
        path, _, rest = line.partition(":")
        paths[_name(Path(path))] = path
        needs[_name(Path(path))] = [_name(Path(other)) for other in rest.split()]
    return paths, needs


def _name(path: Path) -> str:
    """A module's name, "9pnet_virtio" of "9pnet-virtio.ko.xz": the kernel takes - and _ for the same."""
    return path.name.partition(".ko")[0].replace("-", "_")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []
