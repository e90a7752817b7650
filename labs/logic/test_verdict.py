# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict function from a shared object, as the command line names it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.spec import ForwarderSpec
from forwarder.verdict import INCLUDE
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT
from labs.harness.receiver import Receiver
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import PACKETS, plan, to_sink

pytestmark = pytest.mark.lab
SOURCE = Path(__file__).parent / "src" / "decide.c"


@pytest.fixture
def forwarder_spec(tmp_path: Path) -> ForwarderSpec:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: install gcc")
    library = tmp_path / "libdecide.so"
    flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}"]
    subprocess.run(["cc", *flags, "-o", library, SOURCE], check=True)
    return ForwarderSpec(
        "dut0",
        action="verdict",
        verdict=f"{library}:decide",
        verdict_context="8",
        out="dut1",
        check_owners=True,
    )


@pytest.mark.loses("forwarder/not_matched", PACKETS // 10)
@pytest.mark.loses("forwarder/dropped", PACKETS // 2)
def test_shared_object_decides_each_packet_and_remembers(
    forwarder: ForwarderProcess,
    traffic: Callable[..., TrafficReport],
    receiver: Callable[..., Receiver],
) -> None:
    sink = receiver("sink", PORT)
    traffic_plan = plan([to_sink()])
    sent = traffic(traffic_plan)
    # Every tenth is an odd one, from number 9 on.
    on = [n for n in range(sent.sent) if n % 2 == 1 and n % 10 != 9]
    received = sink.drain(on, payload=traffic_plan.payload)
    assert received.complete, received
    assert forwarder.counters()["callbacks"] == 0, "no Python was asked"
