# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a failed lab prints: the cause, from what was counted since its pipeline was built."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.borrow import borrowed_socket
from labs.harness.pipeline import XSKMAP, Pipeline, PipelineSpec
from labs.harness.postmortem import Postmortem
from labs.harness.topology import PAIR
from labs.harness.why.lab import diagnose_pipeline
from labs.why.scene import OURS, TWO_QUEUES

pytestmark = pytest.mark.system


def nothing(pipeline: Pipeline) -> None:
    """The pipeline stays as it is."""


def kill(pipeline: Pipeline) -> None:
    """The forwarder crashes."""
    assert pipeline.forwarder is not None
    pipeline.forwarder.kill()


def swap_queues(pipeline: Pipeline) -> None:
    """The socket of queue 1 is put into the slot of queue 0."""
    assert pipeline.forwarder is not None
    inode = pipeline.xskmap().sockets[1].inode
    with borrowed_socket(pipeline.forwarder.pid, inode) as fd:
        pipeline.program.maps[XSKMAP][0] = fd


CASES: dict[str, tuple[dict[str, Any], Callable[[Pipeline], None], int, str]] = {
    "it flows": ({}, nothing, 300, "Packets flow: 300 packets reached"),
    "nothing was sent": ({}, nothing, 0, "No packet arrives at dut0 (dut) at all: the sender sends none."),
    "it does not read": ({"pause_receive": True, "rx_size": 64}, nothing, 300, "The RX ring is full"),
    "it never fills": ({"no_fill": True}, nothing, 300, "The fill ring is empty"),
    "it crashed": ({}, kill, 300, "The XSKMAP of the program on dut0 (dut) is empty"),
    "another queue": ({"queues": (1,)}, swap_queues, 300, "but the socket is bound to queue 1"),
    "a queue without socket": ({"queues": (1,)}, nothing, 300, "but the socket is bound to queue 1"),
}


@pytest.mark.parametrize(("options", "spoil", "packets", "said"), CASES.values(), ids=list(CASES))
def test_the_cause_is_told_after_the_traffic(
    options: dict[str, Any], spoil: Callable[[Pipeline], None], packets: int, said: str
) -> None:
    topology = TWO_QUEUES if "queues" in options else PAIR
    spec = PipelineSpec(topology, forwarder=ForwarderSpec("dut0", action="drop", **options))
    with Pipeline.build(spec) as pipeline:
        spoil(pipeline)
        before = pipeline.count()
        with pipeline.topology["gen"].socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("gen0", 0))
            for _ in range(packets):
                sender.send(OURS)
        if pipeline.forwarder is not None and pipeline.forwarder.running:
            pipeline.counted_since(before)
        assert said in " ".join(diagnose_pipeline(pipeline).split())


def test_a_failed_lab_prints_it_first() -> None:
    with Pipeline.build(PipelineSpec()) as pipeline:
        sections = Postmortem("test", pipeline).sections()
    title, text = sections[0]
    assert title == "why"
    assert "No packet arrives" in text


def test_a_pipeline_that_is_gone_is_no_second_failure() -> None:
    with Pipeline.build(PipelineSpec()) as pipeline:
        pass
    assert diagnose_pipeline(pipeline).startswith("cannot be told: ")
