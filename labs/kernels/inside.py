# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a guest does for the table of kernels: features, main lab, labs; each leaves a file in a folder.

Usage: python -m labs.kernels.inside FOLDER OBJECT LAB…   (OBJECT: an XDP program for the main lab, or -)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# An emulated processor sends some ten thousand datagrams a second: what is asked is that all of them arrive.
MAIN_LAB = ("run", "--packets", "500", "--rate", "500", "--json")
FEATURES, MAIN, MAIN_SAID, JUNIT = "features.json", "main.json", "main.txt", "junit.xml"


def main(arguments: Sequence[str]) -> int:
    """Does all of it, whatever fails on the way: the files tell."""
    folder, program, *labs = arguments
    place = Path(folder)
    _xdplab(["features", "--json"], place / FEATURES, None)
    # Of a program of the user's nobody knows whether it lets pings pass.
    options = ["--pings", "5"] if program == "-" else ["--pings", "0", "--object", program]
    _xdplab(["--verbose", *MAIN_LAB, *options], place / MAIN, place / MAIN_SAID)
    if labs:
        tests = ["-m", "lab and not guest", "-q", "-p", "no:cacheprovider", f"--junitxml={place / JUNIT}"]
        subprocess.run([sys.executable, "-m", "pytest", *tests, *labs], check=False)
    return 0


def _xdplab(words: Sequence[str], out: Path, said: Path | None) -> None:
    program = "import sys; from labs.harness.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, errors="replace", check=False
    )
    out.write_text(done.stdout)
    if said is not None:
        said.write_text(f"{done.returncode}\n{done.stderr}")
    print(f"xdplab {' '.join(words)}: exit code {done.returncode}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
