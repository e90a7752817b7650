# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict function from a shared object, as the command line names it, and objects given from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forwarder._batch import COUNTERS
from forwarder.loop import BatchLoop
from forwarder.process import Descriptors, Forwarder
from forwarder.spec import ForwarderSpec
from forwarder.verdict import DROP, INCLUDE, VERDICT_TYPE
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.packets import PORT
from labs.harness.receiver import Receiver
from labs.harness.topology import Topology
from labs.harness.traffic import TrafficReport
from labs.logic.conftest import PACKETS, plan, to_sink
from xdp.attachment import Attachment
from xdp.program import Program
from xdp.pyxdp.errors import InputError

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


class Seen(ctypes.Structure):
    """The context: what the function counts."""

    _fields_ = (("packets", ctypes.c_uint64), ("bytes", ctypes.c_uint64))


@VERDICT_TYPE  # type: ignore[untyped-decorator]  # ctypes' own
def count_in_python(_data: Any, length: int, context: int) -> int:
    seen = Seen.from_address(context)
    seen.packets += 1
    seen.bytes += length
    return DROP


def test_object_and_context_are_given_to_the_loop_from_python(
    topology: Topology,
    program: Program,
    attachment: Attachment,
    traffic: Callable[..., TrafficReport],
) -> None:
    memory = memoryview(bytearray(8 * len(COUNTERS)))
    seen = Seen()
    spec = ForwarderSpec("dut0", action="verdict", check_owners=True)
    with topology["dut"].entered():
        loop = BatchLoop(spec, 0, memory, verdict=count_in_python, context=seen)
    with loop:
        loop.enter(program.map_fd("xsks_map"))
        sent = traffic(plan([to_sink()], 200))
        deadline = time.monotonic() + 5
        while seen.packets < 200 and time.monotonic() < deadline:
            loop.run(10)
        assert (seen.packets, seen.bytes) == (200, sent.bytes)
        assert loop.settle()["conserved"]
    assert memory.cast("Q")[COUNTERS.index("dropped")] == 200


def test_forwarder_gives_each_queue_a_context_of_its_own(topology: Topology) -> None:
    spec = ForwarderSpec("dut0", action="verdict")
    made: dict[int, Seen] = {}
    with topology["dut"].entered():
        forwarder = Forwarder(
            spec, Descriptors(), verdict=count_in_python, context=lambda queue: made.setdefault(queue, Seen())
        )
        forwarder.close()
        assert list(made) == [0]
        with pytest.raises(InputError, match="needs --verdict MODULE:NAME"):
            Forwarder(spec, Descriptors())


@pytest.mark.loses("forwarder/not_matched", PACKETS // 10)
@pytest.mark.loses("forwarder/dropped", PACKETS // 2)
@pytest.mark.usefixtures("pipeline")  # its account is checked at the end
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
