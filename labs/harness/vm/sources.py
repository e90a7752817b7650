# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where kernels come from: this system's own package sources, asked for the suites of other releases too.

No mirror is named here: what the machine already trusts is asked, only for more suites. `XDPLAB_APT_SOURCES`
names a file of further sources (another distribution's, for instance), taken as they stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

EXTRA = "XDPLAB_APT_SOURCES"

# Releases whose kernels are worth a look, oldest first. Only what "<release>-security" and "-backports" hold
# is asked for: each release's kernel is updated there, and the main suites' lists are ten times as large.
DEBIAN = ("bullseye", "bookworm", "trixie")
UBUNTU = ("focal", "jammy", "noble", "plucky", "questing", "resolute")
_release = re.compile(r"(?P<name>[a-z]+)(?P<pocket>-[a-z-]+)?")


@dataclass(frozen=True)
class Source:
    """One line of apt's sources: where, which suite, signed by whom."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: str = ""

    def __str__(self) -> str:
        options = f"[{self.options}] " if self.options else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


def system_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """All binary sources of this system, in both of apt's formats."""
    found: list[Source] = []
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            found += parse(file.read_text(errors="replace"), deb822=file.suffix == ".sources")
    return found


def extra_sources() -> list[Source]:
    """Those in the file that `XDPLAB_APT_SOURCES` names; none if it names none."""
    name = os.environ.get(EXTRA, "")
    if not name:
        return []
    text = Path(name).read_text(errors="replace")
    return parse(text, deb822=not re.search(r"(?m)^\s*deb\s", text))


def parse(text: str, *, deb822: bool) -> list[Source]:
    """The binary sources in a file of apt's, see sources.list(5)."""
    return list(_stanzas(text) if deb822 else _lines(text))


def kernel_sources(own: Iterable[Source]) -> list[Source]:
    """What to ask for kernels: for each mirror of the system's the pockets of all known releases."""
    wanted: dict[tuple[str, str], Source] = {}
    for source in own:
        if "main" not in source.components:
            continue
        parts = _release.fullmatch(source.suite)
        if parts is None:
            continue
        name, pocket = parts["name"], parts["pocket"] or ""
        if name in DEBIAN:
            # Security has a mirror of its own there; backports are beside the main suite.
            siblings = [f"{one}-{'security' if pocket == '-security' else 'backports'}" for one in DEBIAN]
        elif name in UBUNTU:
            siblings = [f"{one}-{'security' if pocket == '-security' else 'updates'}" for one in UBUNTU]
        else:
            continue
        for suite in siblings:
            wanted.setdefault((source.uri, suite), Source(source.uri, suite, ("main",), source.options))
    return list(wanted.values())


def _lines(text: str) -> Iterator[Source]:
    line = re.compile(
        r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>[^#]*)"
    )
    for one in text.splitlines():
        found = line.match(one)
        if found:
            yield Source(
                found["uri"].rstrip("/"),
                found["suite"],
                tuple(found["parts"].split()),
                (found["options"] or "").strip(),
            )


def _stanzas(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
            "no",
            "false",
        ):
            continue
        key = fields.get("signed-by", "")
        # A key in the file itself has many words; those of the system are trusted in any case.
        options = f"signed-by={key}" if key and len(key.split()) == 1 else ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri.rstrip("/"), suite, tuple(fields.get("components", "").split()), options)


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            if name:
                fields[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields
