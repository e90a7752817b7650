# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Ring buffers: what a program writes is what the consumer gets, and errors of the consumer come out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import KernelError
from xdp.pyxdp.ringbuf import RingBuffer
from xdp.pyxdp.run import run

pytestmark = pytest.mark.system
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("xdp") int f(struct xdp_md *c)
{
	__u32 length = c->data_end - c->data;
	bpf_ringbuf_output(&events, &length, sizeof(length), 0);
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    source = tmp_path / "events.bpf.c"
    source.write_text(SOURCE)
    with Program.load(ProgramSpec(str(compile_bpf(source)))) as loaded:
        yield loaded


def test_records_come_out_whole_and_in_order(program: Program) -> None:
    found: list[bytes] = []
    with RingBuffer(program.map_fd("events"), found.append) as ring:
        for length in (60, 100, 1000):
            run(program.fd, bytes(length))
        assert ring.consume() == 3
        assert ring.poll(0) == 0
    assert [struct.unpack("=I", record)[0] for record in found] == [60, 100, 1000]


def test_an_exception_of_the_consumer_comes_out(program: Program) -> None:
    def refuse(_record: bytes) -> None:
        raise ZeroDivisionError

    with RingBuffer(program.map_fd("events"), refuse) as ring:
        run(program.fd, bytes(60))
        with pytest.raises(ZeroDivisionError):
            ring.consume()


def test_another_map_is_refused() -> None:
    with (
        Program.load(ProgramSpec("redirect_udp")) as other,
        pytest.raises(KernelError, match="open ring buffer"),
    ):
        RingBuffer(other.map_fd("xsks_map"), print)
