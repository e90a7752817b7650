# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The C core over rings in plain memory, with address and undefined-behaviour sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parent / "csrc"
DRIVERS = sorted(HERE.glob("*_test.c"))
SOURCES = [HERE / "fake_kernel.c", *sorted(CORE.glob("[!g]*.c"))]  # all but the glue
WRAPPED = ("sendto", "recvfrom", "poll", "clock_gettime", "nanosleep")  # fake_kernel.c stands in for them
CASES = {driver: re.findall(r"\bCASE\((\w+), \d", driver.read_text(encoding="utf-8")) for driver in DRIVERS}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Compiles a driver, once: `build(HERE / "loop_test.c")`."""
    folder = tmp_path_factory.mktemp("core")

    def compiled(source: Path) -> Path:
        driver = folder / source.stem
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler: install gcc")
        if not driver.exists():
            wrapped = ",".join(f"--wrap={call}" for call in WRAPPED)
            sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
            flags = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *sanitize, f"-Wl,{wrapped}"]
            subprocess.run([compiler, *flags, "-o", driver, source, *SOURCES], check=True)
        return driver

    return compiled


@pytest.mark.parametrize(("driver", "case"), [(driver, case) for driver in DRIVERS for case in CASES[driver]])
def test_core(build: Callable[[Path], Path], driver: Path, case: str) -> None:
    result = subprocess.run([build(driver), case], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_case_of_the_driver_is_run(build: Callable[[Path], Path], driver: Path) -> None:
    listed = subprocess.run(
        [build(driver), "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed == CASES[driver]
    assert len(listed) == len(re.findall(r"^static void case_", driver.read_text(), re.M))
