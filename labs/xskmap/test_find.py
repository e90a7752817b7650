# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""XSKMAPs are found by device, program, pin and namespace; what cannot be found is said in one sentence."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from labs.harness.pins import PinFolder
from labs.harness.process import Process
from labs.xskmap.station import Station
from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import InputError, kernel, maps
from xdp.xskmap_find import all_xskmaps, xskmaps_of_device, xskmaps_of_pin, xskmaps_of_program

pytestmark = pytest.mark.lab


def test_all_lists_xskmaps_and_no_other_maps(station: Station) -> None:
    found = all_xskmaps()
    assert station.map_id in found
    assert station.program.maps["counters"].id not in found


def test_a_program_leads_to_the_xskmap_it_uses(station: Station) -> None:
    assert xskmaps_of_program(station.program.id) == [station.map_id]


JUMPER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");
SEC("xdp") int jumper(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 2);
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
"""


def test_a_program_leads_to_the_xskmap_of_a_program_that_it_tail_calls(
    station: Station, tmp_path: Path
) -> None:
    source = tmp_path / "jumper.bpf.c"
    source.write_text(JUMPER)
    with Program.load(ProgramSpec(str(compile_bpf(source)))) as program:
        with pytest.raises(InputError, match="uses no XSKMAP"):
            xskmaps_of_program(program.id)
        fd = program.map_fd("jumps")
        maps.update(fd, kernel.map_info(fd), struct.pack("=I", 2), struct.pack("=I", station.program.fd))
        assert xskmaps_of_program(program.id) == [station.map_id]


def test_a_device_is_looked_up_in_its_namespace(station: Station) -> None:
    with station.dut.entered():
        assert xskmaps_of_device("dut0") == [station.map_id]
    name = station.dut.pin()
    before = os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 (as the kernel names it)
    assert xskmaps_of_device("dut0", name.name) == [station.map_id]
    assert xskmaps_of_device("dut0", str(name)) == [station.map_id]
    with Process(["sleep", "60"], run="find", namespace=station.dut) as inside:
        assert xskmaps_of_device("dut0", str(inside.pid)) == [station.map_id]
    assert os.stat("/proc/thread-self/ns/net").st_ino == before  # noqa: PTH116


def test_devices_that_cannot_be_used_are_bad_input(station: Station) -> None:
    name = station.dut.pin().name
    with pytest.raises(InputError, match=f"no device dut7 in network namespace {name}; there is lo, dut0"):
        xskmaps_of_device("dut7", name)
    with pytest.raises(InputError, match="no network namespace nowhere; give a name"):
        xskmaps_of_device("dut0", "nowhere")
    with (
        station.topology["gen"].entered(),
        pytest.raises(InputError, match="no XDP program is attached to gen0"),
    ):
        xskmaps_of_device("gen0")
    with Program.load(ProgramSpec("xdp_pass")) as program, station.topology["gen"].entered():
        program.attach("gen0")
        with pytest.raises(InputError, match=f"program {program.id} on gen0 uses no XSKMAP"):
            xskmaps_of_device("gen0")
        with pytest.raises(InputError, match=rf"program {program.id} \(xdp_pass\) uses no XSKMAP"):
            xskmaps_of_program(program.id)


def test_an_unknown_program_is_bad_input() -> None:
    with pytest.raises(InputError, match="no BPF program with id 4294967295"):
        xskmaps_of_program(2**32 - 1)


def test_a_path_without_a_pin_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is pinned at"):
        xskmaps_of_pin(str(tmp_path / "nothing"))


def test_pins_of_maps_and_programs_lead_to_the_map(station: Station) -> None:
    with PinFolder() as pins:
        of_map = pins.pin(station.program.map_fd("xsks_map"), "m")
        of_program = pins.pin(station.program.fd, "p")
        assert xskmaps_of_pin(of_map) == xskmaps_of_pin(of_program) == [station.map_id]
