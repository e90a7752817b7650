# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The diagnosis of a lab that has just failed, while all of it still stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs.harness.why.gather import gather
from labs.harness.why.rules import diagnose
from labs.harness.why.text import render
from labs.harness.why.view import Target, View
from xdp.pyxdp.errors import InputError, KernelError

if TYPE_CHECKING:
    from labs.harness.pipeline import Pipeline

WIDTH = 110


def diagnose_pipeline(pipeline: Pipeline) -> str:
    """Why its packets did not come through, from all that was counted since it was built; never raises.

    The traffic is over: what a packet looked like, and why a redirect failed, can no longer be seen.
    """
    device = pipeline.spec.device
    want = "native" if pipeline.spec.mode == "native" else ""
    try:
        namespaces = pipeline.topology.namespaces
        with View({namespace.inode: role for role, namespace in namespaces.items()}) as view:
            target = Target(pipeline.dut.inode, pipeline.dut.interface_index(device))
            found = diagnose(gather(view, target, seconds=None, want=want))
    except (InputError, KernelError, OSError) as error:
        return f"cannot be told: {error}"
    return render(f"{device}, as it stands now", found, WIDTH)
