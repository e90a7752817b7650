# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Somebody else's forwarder in the place of ours, given the XSKMAP by its pin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.compiler import compile_c
from labs.harness.pins import PinFolder
from labs.harness.pipeline import XSKMAP
from labs.harness.process import Process
from labs.harness.topology import Topology
from xdp.attachment import Attachment
from xdp.program import Program
from xdp.xskmap import read_xskmap

SOURCE = Path(__file__).parent / "src" / "echo.c"


@pytest.fixture(scope="session")
def echo_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C forwarder, built."""
    return compile_c(SOURCE, tmp_path_factory.mktemp("foreign") / "echo")


@pytest.fixture
def drop_every() -> int:
    """Every how many packets the forwarder drops one; 0 for never."""
    return 0


@pytest.fixture
def forwarder(
    echo_command: Path, topology: Topology, program: Program, attachment: Attachment, drop_every: int
) -> Iterator[Process]:
    """The foreign forwarder: it says nothing when it is ready, so the XSKMAP is asked."""
    xsks = program.map_fd(XSKMAP)
    with PinFolder() as pins:
        command = [str(echo_command), attachment.ifname, "0", pins.pin(xsks, XSKMAP), str(drop_every)]
        with Process(command, run=topology.run, namespace=topology["dut"], pass_fds=[pins.fd]) as process:
            process.wait_for(lambda: bool(read_xskmap(fd=xsks).occupied), 5, "socket in the XSKMAP")
            yield process
