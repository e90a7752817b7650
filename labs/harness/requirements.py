# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Can the labs run here? Found out by building the smallest lab there is."""

from __future__ import annotations

import functools

from labs.harness.runs import new_run_id
from xdp.features import Feature, feature
from xdp.pyxdp.errors import InputError, KernelError


def _namespaces() -> str:
    from labs.harness.netns import NetNs

    try:
        NetNs("probe", new_run_id()).close()
    except (InputError, KernelError) as error:
        return str(error)
    return ""


def _native_xdp_on_veth() -> str:
    from labs.harness.topology import PAIR, Topology
    from xdp.program import Program, ProgramSpec

    try:
        with (
            Topology.build(PAIR) as topology,
            Program.load(ProgramSpec("xdp_pass")) as program,
            topology["dut"].entered(),
        ):
            program.attach("dut0", "native")
    except (InputError, KernelError) as error:
        return str(error)
    return ""


def lab_requirements() -> list[Feature]:
    """What the labs need beyond what `xdp.features` tries."""
    namespaces = _namespaces()
    native = namespaces or _native_xdp_on_veth()
    return [
        Feature("namespaces", "private networks", not namespaces, namespaces),
        Feature("native_xdp_on_veth", "XDP in the driver of a veth pair", not native, native),
    ]


@functools.cache
def why_not() -> str:
    """The reason why labs cannot run on this machine, or "" if they can."""
    for one in (feature("root"), feature("af_xdp"), feature("xdp"), feature("xskmap"), *lab_requirements()):
        if not one.available:
            return f"labs cannot run here: {one.name}: {one.reason}"
    return ""
