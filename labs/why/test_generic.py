# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The causes whose evidence comes from elsewhere in generic mode are named there too."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs.why.scene import FAULTS, MANY, OURS, TWO_QUEUES, Scene

pytestmark = pytest.mark.system  # `test_causes` is the lab: these are the same causes once more


@pytest.mark.parametrize(("fault", "name"), FAULTS.items())
def test_faults_of_a_foreign_program(scene: Scene, faulty: Path, fault: str, name: str) -> None:
    scene.start(faulty, scene.attach(mode="generic"), fault)
    scene.frames(OURS, burst=MANY)
    assert scene.ask().name == name


def test_packets_on_a_queue_without_socket(faulty: Path) -> None:
    with Scene(TWO_QUEUES) as scene:
        scene.start(faulty, scene.attach(mode="generic"), queue=1)
        scene.frames(OURS)
        assert scene.ask().name == "wrong_queue"
