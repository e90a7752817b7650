# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The C core over rings in plain memory, with address and undefined-behaviour sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parent / "csrc"
SOURCES = [HERE / "core_test.c", HERE / "fake_kernel.c", *sorted(CORE.glob("[!g]*.c"))]  # all but the glue
WRAPPED = ("sendto", "recvfrom", "poll", "clock_gettime", "nanosleep")  # fake_kernel.c stands in for them
CASES = re.findall(r"\bCASE\((\w+), \d", (HERE / "core_test.c").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def core_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled driver."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: install gcc")
    driver = tmp_path_factory.mktemp("core") / "core_test"
    wrapped = ",".join(f"--wrap={call}" for call in WRAPPED)
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *sanitize, f"-Wl,{wrapped}"]
    subprocess.run([compiler, *flags, "-o", driver, *SOURCES], check=True)
    return driver


@pytest.mark.parametrize("case", CASES)
def test_core(core_test: Path, case: str) -> None:
    result = subprocess.run([core_test, case], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr


def test_every_case_of_the_driver_is_run(core_test: Path) -> None:
    listed = subprocess.run([core_test, "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert listed == CASES
    assert len(listed) == len(re.findall(r"^static void case_", (HERE / "core_test.c").read_text(), re.M))
