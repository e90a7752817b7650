# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where runs leave their results: a folder a run, and `latest` that points to the newest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from xdp.pyxdp.errors import InputError

SCHEMA_VERSION = 1


def default_root() -> Path:
    """`$XDPLAB_RESULTS`, or `results` in the current folder."""
    return Path(os.environ.get("XDPLAB_RESULTS", "results"))


class ResultFolder:
    """The folder of one run, `<root>/<time>-<lab>-<run>`.

    Args:
        lab: the lab's name.
        run: the run's id.
        root: where results are kept; made if it does not exist.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, lab: str, run: str, root: Path | None = None) -> None:
        self.root = root or default_root()
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.path = self.root / f"{stamp}-{lab}-{run}"
        self._made = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"cannot make the results folder {self.path}: {error.strerror}; "
                "name one that can be written by --results or XDPLAB_RESULTS"
            ) from None

    def write(self, name: str, data: dict[str, Any], *, latest: bool = True) -> Path:
        """Writes JSON whole or not at all, then points `latest` to this run unless told not to.

        Raises:
            InputError: it cannot be written.
        """
        target = self.path / name
        partial = target.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(data, indent=2, sort_keys=False) + "\n")
            partial.replace(target)
            if latest:
                self._point_latest()
        except OSError as error:
            raise InputError(f"the result cannot be written to {target}: {error.strerror}") from error
        return target

    def write_text(self, name: str, text: str) -> Path:
        """Writes a file beside the result."""
        target = self.path / name
        target.write_text(text)
        return target

    def discard(self) -> None:
        """Removes the folder again, for a run that could not begin, and those above that were made for it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run is in there by now
            for folder in self._made:
                folder.rmdir()

    def _point_latest(self) -> None:
        link, fresh = self.root / "latest", self.root / f".latest-{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        fresh.symlink_to(self.path.name)
        fresh.replace(link)
