# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What an installed xdplab holds: all that was compiled, so that it needs no compiler, and no tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from this tree in a build folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    options = ["--config-settings", f"build-dir={folder}/build", "--wheel-dir", str(folder), str(REPOSITORY)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # ninja
    built = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = folder.glob("xdplab-*.whl")
    return made


def test_the_wheel_holds_every_bpf_object_and_the_extension(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    programs = {source.name.removesuffix(".bpf.c") for source in (REPOSITORY / "xdp/src").glob("*.bpf.c")}
    objects = {match[1] for name in names if (match := re.fullmatch(r"xdp/objects/(\w+)\.bpf\.o", name))}
    assert programs
    assert objects == programs
    assert [name for name in names if re.fullmatch(r"forwarder/_batch\..*\.so", name)]


def test_the_wheel_holds_every_module_but_no_tests_sources_or_leavings(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(REPOSITORY))
        for package in ("xdp", "forwarder", "labs")
        for path in (REPOSITORY / package).rglob("*.py")
        if "tests" not in path.parts and not path.name.startswith("test_")
    }
    assert modules <= names
    unwanted = re.compile(
        r"(^|/)(tests|src|csrc|__pycache__)/|(^|/)test_[^/]*\.py$|\.(c|h|pyc|debug\.o)$|meson\.build$"
    )
    # What users compile their own functions against.
    headers = {"forwarder/include/xdplab_verdict.h", "xdp/include/xdplab_rx_metadata.h"}
    assert headers <= names
    assert [name for name in names - headers if unwanted.search(name)] == []


def test_an_installed_wheel_is_imported_without_a_compiler(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    python = tmp_path / "venv/bin/python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=60)
    code = (
        "import forwarder._batch, xdp, xdp.pyxdp.errors, labs.harness.cleanup, importlib.resources as r\n"
        "print(forwarder._batch.__file__, r.files('xdp') / 'objects' / 'xdp_pass.bpf.o')\n"
        "assert (r.files('xdp') / 'objects' / 'xdp_pass.bpf.o').read_bytes()[:4] == b'\\x7fELF'\n"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = subprocess.run(
        [python, "-I", "-c", code],
        env={"PATH": str(empty)},
        cwd=empty,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert all(path.startswith(str(tmp_path)) for path in ran.stdout.split()), ran.stdout
