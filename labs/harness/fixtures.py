# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The fixtures for what stands: small, named by nouns, each built on the one before it.

A test asks for what it needs; it overrides a spec (`topology_spec`, `program_spec`, `xdp_mode`,
`forwarder_spec`) in its own module or class to get another network, program or forwarder.
All are made anew for each test. Those for what is sent and received are in `fixtures_traffic`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.capture import Capture
from labs.harness.counters import Snapshot
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.pipeline import Pipeline, PipelineSpec, attach, start_forwarder
from labs.harness.postmortem import POSTMORTEM, Postmortem
from labs.harness.process import Process
from labs.harness.runs import new_run_id
from labs.harness.topology import PAIR, Topology, TopologySpec
from labs.harness.veth import VethPair
from labs.harness.veth_spec import VethSpec
from xdp.attachment import Attachment, Mode
from xdp.program import Program, ProgramSpec
from xdp.xskmap_model import XskMap


@pytest.fixture
def run_id() -> str:
    """The id of this test's run: namespaces, processes and pins carry it."""
    return new_run_id()


@pytest.fixture
def postmortem(request: pytest.FixtureRequest) -> Postmortem:
    """What will be printed if the test fails; fixtures put what they made into it."""
    found = Postmortem(request.node.nodeid)
    request.node.stash[POSTMORTEM] = found
    return found


@pytest.fixture
def netns(run_id: str) -> Iterator[Callable[[str], NetNs]]:
    """Makes namespaces: `netns("gen")`."""
    with contextlib.ExitStack() as undo:
        yield lambda role: undo.enter_context(NetNs(role, run_id))


@pytest.fixture
def veth_pair() -> Iterator[Callable[[VethSpec, NetNs, NetNs], VethPair]]:
    """Makes veth pairs between namespaces: `veth_pair(VethSpec(…), gen, dut)`."""
    with contextlib.ExitStack() as undo:
        yield lambda spec, a, b: undo.enter_context(VethPair(spec, a, b))


@pytest.fixture
def topology_spec() -> TopologySpec:
    """The network: gen and dut, unless a test overrides it."""
    return PAIR


@pytest.fixture
def topology(topology_spec: TopologySpec, run_id: str) -> Iterator[Topology]:
    """The network, built."""
    with Topology.build(topology_spec, run=run_id) as built:
        yield built


@pytest.fixture
def program_spec() -> ProgramSpec:
    """The XDP program: `redirect_udp` for port 4242, unless a test overrides it."""
    return ProgramSpec("redirect_udp")


@pytest.fixture
def xdp_mode() -> Mode:
    """How the program is attached: native, unless a test overrides it."""
    return "native"


@pytest.fixture
def program(program_spec: ProgramSpec) -> Iterator[Program]:
    """The XDP program, loaded."""
    with Program.load(program_spec) as loaded:
        yield loaded


@pytest.fixture
def attachment(program: Program, topology: Topology, xdp_mode: Mode) -> Attachment:
    """The program on the DUT's device dut0."""
    return attach(program, topology, "dut0", xdp_mode)


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    """The forwarder: `echo` on dut0 with every frame's owner checked, unless a test overrides it."""
    return ForwarderSpec("dut0", action="echo", check_owners=True)


@pytest.fixture
def forwarder(
    forwarder_spec: ForwarderSpec, topology: Topology, program: Program, attachment: Attachment
) -> Iterator[ForwarderProcess]:
    """The forwarder's process, ready."""
    with start_forwarder(forwarder_spec, topology, program, attachment.ifname) as process:
        yield process


@pytest.fixture
def pipeline(
    topology: Topology,
    program: Program,
    attachment: Attachment,
    forwarder: Process,
    forwarder_spec: ForwarderSpec,
    postmortem: Postmortem,
) -> Iterator[Pipeline]:
    """All of the above together; `forwarder` may be any process that enters the XSKMAP.

    What its peers send and receive is recorded until the test has passed.
    """
    spec = PipelineSpec(topology.spec, program.spec, attachment.asked, forwarder_spec, attachment.ifname)
    ours = forwarder if isinstance(forwarder, ForwarderProcess) else None
    with Pipeline(spec, topology, program, attachment, ours, foreign=ours is None) as built:
        postmortem.pipeline = built
        with contextlib.ExitStack() as undo:
            for end in topology.spec.ends:
                # Not in the DUT: what XDP takes there comes before any capture.
                if topology[end.node] is not built.dut:
                    recorder = Capture(topology[end.node], end.name, idle=True)
                    postmortem.recorders.append(undo.enter_context(recorder))
            yield built


@pytest.fixture
def xskmap(pipeline: Pipeline) -> Callable[[], XskMap]:
    """Reads the XSKMAP from the kernel, each time it is called."""
    return pipeline.xskmap


@pytest.fixture
def counters(pipeline: Pipeline) -> Snapshot:
    """All counters as they were before the test's traffic; see `Pipeline.counted_since`."""
    return pipeline.count()
