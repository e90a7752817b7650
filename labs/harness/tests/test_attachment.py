# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Attaching to a real device: what is granted is read back, and what ends is gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from labs.harness.netns import NetNs
from labs.harness.topology import PAIR, Topology
from xdp.attachment import Kind, Mode
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import InputError, KernelError, xdplink

pytestmark = pytest.mark.system


@pytest.fixture
def dut() -> Iterator[NetNs]:
    with Topology.build(PAIR) as topology:
        yield topology["dut"]


@pytest.fixture
def loaded() -> Iterator[Program]:
    with Program.load(ProgramSpec("xdp_pass")) as program:
        yield program


def attached_now(dut: NetNs) -> xdplink.Attached:
    with dut.entered():
        return xdplink.query(dut.interface_index("dut0"))


@pytest.mark.parametrize("kind", ["link", "netlink", "dispatcher"])
@pytest.mark.parametrize(
    ("asked", "granted"), [("native", "native"), ("generic", "generic"), ("auto", "native")]
)
def test_the_granted_mode_is_the_kernels(
    dut: NetNs, loaded: Program, asked: Mode, granted: str, kind: Kind
) -> None:
    with dut.entered():
        attachment = loaded.attach("dut0", asked, kind)
    assert (attachment.mode, attachment.kind) == (granted, kind)
    assert attached_now(dut).mode == granted
    if kind != "dispatcher":  # libxdp may put its dispatcher there
        assert attached_now(dut).prog_id == attachment.prog_id == loaded.id
    attachment.close()
    assert attached_now(dut) == xdplink.Attached("none", 0)


def test_a_link_holds_as_long_as_any_copy_of_its_fd(dut: NetNs, loaded: Program) -> None:
    with dut.entered():
        attachment = loaded.attach("dut0")
    assert attachment.link_fd is not None
    copy = os.dup(attachment.link_fd)
    attachment.close()
    assert attached_now(dut).mode == "native"
    os.close(copy)
    assert attached_now(dut).mode == "none"


@pytest.mark.parametrize("kind", ["link", "netlink"])
def test_a_second_program_is_refused_and_the_first_stays(dut: NetNs, loaded: Program, kind: Kind) -> None:
    with dut.entered():
        loaded.attach("dut0", "native", kind)
        refused = pytest.raises(KernelError, match="another XDP program is attached already")
        with Program.load(ProgramSpec("redirect_udp")) as second, refused as caught:
            second.attach("dut0", "native", kind)
    assert caught.value.errno == errno.EBUSY
    assert attached_now(dut).prog_id == loaded.id


def test_an_unknown_device_is_named(dut: NetNs, loaded: Program) -> None:
    with dut.entered(), pytest.raises(InputError, match="no device 'eth9' in this network namespace"):
        loaded.attach("eth9")


def test_unknown_modes_and_kinds_are_answered_with_those_there_are(dut: NetNs, loaded: Program) -> None:
    with dut.entered():
        with pytest.raises(InputError, match="unknown XDP mode 'fast'; there are auto, native, generic"):
            loaded.attach("dut0", "fast")  # type: ignore[arg-type]  # what a user may pass
        with pytest.raises(InputError, match="unknown kind of attachment 'magic'; there are link, netlink"):
            loaded.attach("dut0", kind="magic")  # type: ignore[arg-type]  # likewise


def test_auto_falls_back_to_generic_where_the_driver_refuses(dut: NetNs, loaded: Program) -> None:
    with dut.entered():
        attachment = loaded.attach("lo", "auto")
        assert attachment.mode == "generic"
        attachment.close()
        with pytest.raises(KernelError, match="lo, native mode"):
            loaded.attach("lo", "native")
