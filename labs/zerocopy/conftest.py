# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The pipeline's fixtures on two cards; skipped, with the reason, where no driver grants zero-copy."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from forwarder.spec import ForwarderSpec
from labs.harness.forwarder_process import ForwarderProcess
from labs.harness.pipeline import start_forwarder
from labs.harness.process import NotReadyError
from labs.harness.topology import CABLE, Topology, TopologySpec
from xdp.attachment import Attachment
from xdp.device_features import zero_copy_devices
from xdp.program import Program
from xdp.pyxdp.errors import KernelError

GUEST = "xdplab vm run --nic virtio --nic virtio,iommu,queues=2 -- pytest labs/zerocopy"
DEVICES = ("eth0", "eth1")


@pytest.fixture(scope="session")
def cards() -> TopologySpec:
    """The cable between the two cards; a machine's own are nobody's to take, so only those of a guest are."""
    if "XDPLAB_GUEST" not in os.environ:
        pytest.skip(f"takes two network cards for itself: {GUEST}")
    here = {name for _, name in socket.if_nameindex()}
    if not here.issuperset(DEVICES):
        pytest.skip(f"this guest has not two network cards: {GUEST}")
    return CABLE


@pytest.fixture(scope="session")
def zero_copy(cards: TopologySpec) -> TopologySpec:
    """The same; the driver of the second card knows zero-copy: whether it is granted, a bind tells."""
    try:
        offered = zero_copy_devices()
    except KernelError as error:
        pytest.skip(str(error))
    if DEVICES[1] not in offered:
        pytest.skip(f"the driver of {DEVICES[1]} knows no AF_XDP zero-copy on this kernel")
    return cards


@pytest.fixture
def topology_spec(cards: TopologySpec) -> TopologySpec:
    """The two cards."""
    return cards


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    """Zero-copy or nothing."""
    return ForwarderSpec("dut0", action="echo", check_owners=True, binding="zero-copy")


@pytest.fixture
def forwarder(
    forwarder_spec: ForwarderSpec, topology: Topology, program: Program, attachment: Attachment
) -> Iterator[ForwarderProcess]:
    """The forwarder, ready; a refusal of zero-copy is the driver's to give."""
    try:
        process = start_forwarder(forwarder_spec, topology, program, attachment.ifname)
    except NotReadyError as error:
        if forwarder_spec.binding != "zero-copy":
            raise
        pytest.skip(f"zero-copy is refused on this kernel and card: {error}")
    with process:
        yield process
