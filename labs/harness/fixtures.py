# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The fixtures: small, named by nouns, each built on the one before it.

A test asks for what it needs and overrides the specs (`topology_spec`, `program_spec`, `xdp_mode`, `forwarder_spec`)
in its own module to get another network, program or forwarder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.netns import NetNs
from labs.harness.pipeline import Pipeline, PipelineSpec
from labs.harness.postmortem import POSTMORTEM, Postmortem
from labs.harness.topology import PAIR, Topology, TopologySpec, new_run_id
from labs.harness.veth import VethPair, VethSpec
from xdp.attachment import Attachment, Mode
from xdp.program import Program, ProgramSpec
