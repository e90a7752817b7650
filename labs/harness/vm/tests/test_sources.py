# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Kernels are asked of the mirrors that the system has, under the names of other releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs.harness.vm import kernels, sources

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/ubuntu noble main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/ubuntu noble main universe # end
deb http://mirror.example/ubuntu noble-security main
deb-src http://mirror.example/ubuntu noble main
deb http://elsewhere.example/tool stable main
"""


def test_both_formats_of_apt_are_read() -> None:
    found = sources.parse(DEB822, deb822=True)
    assert [(source.uri, source.suite) for source in found] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/security", "bookworm-security"),
    ]
    assert found[0].options == "signed-by=/usr/share/keyrings/key.gpg"
    assert found[2].options == ""  # a key in the file itself cannot be named on one line
    lines = sources.parse(ONE_LINE, deb822=False)
    assert [source.suite for source in lines] == ["noble", "noble-security", "stable"]
    assert lines[0].options == "arch=amd64 signed-by=/k.gpg"
    assert lines[0].components == ("main", "universe")


def test_each_mirror_is_asked_for_its_own_kind_of_suite_of_every_release() -> None:
    asked = [str(source) for source in sources.kernel_sources(sources.parse(DEB822, deb822=True))]
    key = "[signed-by=/usr/share/keyrings/key.gpg] "
    assert f"deb {key}http://mirror.example/debian trixie-backports main" in asked
    assert "deb http://mirror.example/security bullseye-security main" in asked
    assert not any("debian trixie-security" in line or "security trixie-backports" in line for line in asked)
    assert len(asked) == len(set(asked)) == 2 * len(sources.DEBIAN)


def test_another_distributions_mirror_is_asked_for_that_ones_releases() -> None:
    asked = [str(source) for source in sources.kernel_sources(sources.parse(ONE_LINE, deb822=False))]
    assert any(line.endswith("jammy-security main") for line in asked)
    assert any(line.endswith("jammy-updates main") for line in asked)
    assert not any("elsewhere" in line or "bookworm" in line for line in asked)


def test_a_list_of_mirrors_is_asked_like_a_mirror() -> None:
    """As hosted runners of Ubuntu have it."""
    stanza = "Types: deb\nURIs: mirror+file:/etc/apt/mirrors\nSuites: noble noble-updates\nComponents: main\n"
    asked = [str(source) for source in sources.kernel_sources(sources.parse(stanza, deb822=True))]
    assert "deb mirror+file:/etc/apt/mirrors jammy-updates main" in asked
    assert len(asked) == len(sources.UBUNTU)


def test_a_system_without_apts_files_has_no_sources(tmp_path: Path) -> None:
    assert sources.system_sources(tmp_path) == []


def test_files_of_both_kinds_are_found_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/old.list.save").write_text(ONE_LINE)
    assert len(sources.system_sources(tmp_path)) == 6


def test_further_sources_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (DEB822, ONE_LINE):
        (tmp_path / "more").write_text(text)
        monkeypatch.setenv(sources.EXTRA, str(tmp_path / "more"))
        assert len(sources.extra_sources()) == 3
    monkeypatch.delenv(sources.EXTRA)
    assert sources.extra_sources() == []


RELEASES = [
    "5.10.0-9-amd64",
    "5.10.0-46-amd64",
    "6.1.0-57-amd64",
    "6.12.9+deb12-amd64",
    "6.12.118+deb13-amd64",
    "6.2.0-1-amd64",
    "7.3.4+deb13-amd64",
]


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("5.10", "5.10.0-46-amd64"),
        ("6.12", "6.12.118+deb13-amd64"),
        ("6.12.9", "6.12.9+deb12-amd64"),
        ("6.1", "6.1.0-57-amd64"),  # not 6.12
        ("newest", "7.3.4+deb13-amd64"),
        ("5.15", None),
    ],
)
def test_a_series_means_its_newest_release_by_number(name: str, release: str | None) -> None:
    assert kernels.choose(name, RELEASES) == release
