# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The causes whose evidence comes from elsewhere in generic mode are named there too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labs.harness.why.sample import with_port
from labs.why.scene import FAULTS, MANY, OURS, TWO_QUEUES, Scene

pytestmark = pytest.mark.system  # `test_causes` is the lab: these are the same causes once more


@pytest.mark.parametrize(("fault", "name"), FAULTS.items())
def test_faults_of_a_foreign_program(scene: Scene, faulty: Path, fault: str, name: str) -> None:
    scene.start(faulty, scene.attach(mode="generic"), fault)
    scene.frames(OURS, burst=MANY)
    assert scene.ask().name == name


@pytest.mark.lab
@pytest.mark.guest
@pytest.mark.requires("fexit")
class TestFexit:
    """What no driver counts here is seen at the program's exit."""

    def test_the_queue_of_the_packets_is_named(self, faulty: Path) -> None:
        with Scene(TWO_QUEUES) as scene:
            scene.start(faulty, scene.attach(mode="generic"), queue=1)
            scene.frames(OURS)
            found = scene.ask(fexit=True)
            assert found.name == "wrong_queue"
            assert re.search(r"dut0.*: \d+ packets on queue 0$", found.evidence[0])

    def test_what_the_program_says_to_packets_is_told(self, scene: Scene, faulty: Path) -> None:
        scene.start(faulty, scene.attach(mode="generic"))
        scene.frames(with_port(OURS, 4243))
        found = scene.ask(fexit=True)
        assert found.name == "not_matched"
        assert re.fullmatch(r"its verdicts, as fexit saw them: \d+ XDP_PASS", found.evidence[-1])


def test_packets_on_a_queue_without_socket(faulty: Path) -> None:
    with Scene(TWO_QUEUES) as scene:
        scene.start(faulty, scene.attach(mode="generic"), queue=1)
        scene.frames(OURS)
        assert scene.ask().name == "wrong_queue"
