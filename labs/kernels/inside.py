# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a guest does for the table of kernels: features, main lab, labs; each leaves files as it ends.

Usage: python -m labs.kernels.inside FOLDER OBJECT LAB…   (OBJECT: an XDP program for the main lab, or -)

A lab is a pytest run of its own: what one has shown is on the host when a later one takes the guest with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# An emulated processor sends some ten thousand datagrams a second: what is asked is that all of them arrive.
MAIN_LAB = ("run", "--packets", "500", "--rate", "500", "--json")
FEATURES, MAIN, MAIN_SAID = "features.json", "main.json", "main.txt"
# Of a lab: what pytest prints, from its begin on; its report; at its end how long it took and its exit code.
SAID, REPORT, ENDED = ".txt", ".xml", ".json"


def lab_file(folder: Path, lab: str, kind: str) -> Path:
    """Where a lab leaves something: SAID, REPORT or ENDED."""
    return folder / f"lab-{lab.replace('/', '-')}{kind}"


def main(arguments: Sequence[str]) -> int:
    """Does all of it, whatever fails on the way: the files tell."""
    folder, program, *labs = arguments
    place = Path(folder)
    _xdplab(["features", "--json"], place / FEATURES, None)
    # Of a program of the user's nobody knows whether it lets pings pass.
    options = ["--pings", "5"] if program == "-" else ["--pings", "0", "--object", program]
    _xdplab(["--verbose", *MAIN_LAB, *options], place / MAIN, place / MAIN_SAID)
    for number, lab in enumerate(labs, 1):
        print(f"\nlabs/{lab}, {number} of {len(labs)}", flush=True)
        _lab(place, lab)
    return 0


def _lab(place: Path, lab: str) -> None:
    """The lab's pytest run, printed as it goes."""
    options = ["-m", "lab and not guest", "-q", "-p", "no:cacheprovider"]
    report = f"--junitxml={lab_file(place, lab, REPORT)}"
    began = time.monotonic()
    with (
        lab_file(place, lab, SAID).open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, report, f"labs/{lab}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        ) as process,
    ):
        assert process.stdout is not None
        while data := process.stdout.read(65536):
            file.write(data)
            file.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        code = process.wait()
    seconds = round(time.monotonic() - began, 1)
    lab_file(place, lab, ENDED).write_text(json.dumps({"code": code, "seconds": seconds}))
    print(f"labs/{lab} ended after {seconds:.0f} s, exit code {code}", flush=True)


def _xdplab(words: Sequence[str], out: Path, said: Path | None) -> None:
    program = "import sys; from labs.harness.cli import main; sys.exit(main())"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, errors="replace", check=False
    )
    out.write_text(done.stdout)
    if said is not None:
        said.write_text(f"{done.returncode}\n{done.stderr}")
    took = time.monotonic() - began
    print(f"xdplab {' '.join(words)}: exit code {done.returncode} after {took:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
