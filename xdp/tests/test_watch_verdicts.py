# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout of the verdicts is the header's; a program is found by its full name, or it is said why not."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from xdp import watch_verdicts
from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec
from xdp.pyxdp import probe
from xdp.pyxdp.bpf import BpfObject
from xdp.pyxdp.btf import Btf, Member
from xdp.pyxdp.errors import InputError, KernelError
from xdp.pyxdp.kernel import ProgType
from xdp.watch_events import ACTIONS
from xdp.watch_verdicts import FRAMES, VERDICTS, VerdictWatch, function_of

LONG = "longer_than_the_fifteen_characters_of_its_info"
SOURCE = f"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
static __attribute__((noinline)) int called(struct xdp_md *ctx) {{ return ctx->rx_queue_index & 1; }}
SEC("xdp") int {LONG}(struct xdp_md *ctx) {{ return called(ctx); }}
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture
def watch_object() -> Iterator[BpfObject]:
    raw = (resources.files("xdp") / "objects" / "watch_verdicts.bpf.o").read_bytes()
    with BpfObject(raw, name="watch_verdicts") as opened:
        yield opened


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "user.bpf.c").write_text(SOURCE)
    return compile_bpf(tmp_path / "user.bpf.c")


def test_the_counts_are_read_as_the_header_lays_them_out(watch_object: BpfObject) -> None:
    with Btf(watch_object.btf) as btf:
        assert btf.members("watch_verdicts") == {"frames": Member(0, FRAMES.size)}
        assert set(btf.variables(".rodata")) == {"netns", "ifindex"}
        assert btf.variables(".bss") == {"lost": Member(0, 8)}
    assert [f"XDP_{name.upper()}" for name in VERDICTS[:-1]] == list(ACTIONS)


@pytest.mark.system
def test_a_programs_own_function_is_told_by_its_full_name(built: Path) -> None:
    with Program.load(ProgramSpec(str(built))) as program:
        assert function_of(program.fd) == LONG


@pytest.mark.system
def test_a_program_without_btf_has_no_function_and_the_error_says_what_to_do(built: Path) -> None:
    built.write_bytes(built.read_bytes().replace(b".BTF.ext\0", b".not.ext\0"))
    with (
        Program.load(ProgramSpec(str(built))) as program,
        pytest.raises(InputError, match=rf"program {program.id} \(longer_.*\): .*compile it with clang -g"),
    ):
        function_of(program.fd)


@pytest.mark.system
def test_a_target_is_found_in_a_program_and_in_the_kernel(watch_object: BpfObject) -> None:
    (watch,) = watch_object.programs.values()
    with Program.load(ProgramSpec("redirect_udp")) as program:
        watch.set_attach_target("redirect_udp", program.fd)
        with pytest.raises(KernelError, match=r"set attach target \(no_such_function\)") as caught:
            watch.set_attach_target("no_such_function", program.fd)
        assert caught.value.errno in (errno.ENOENT, errno.ESRCH)
    watch.set_attach_target("bpf_fentry_test1")
    with pytest.raises(KernelError, match=r"\(no_such_function\).*no such function there"):
        watch.set_attach_target("no_such_function")


@pytest.mark.system
def test_where_the_kernel_refuses_fexit_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """On most kernels it is refused by pretence only; on the reference kernel it is."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("an object was opened")

    if probe.prog_type(ProgType.TRACING):
        monkeypatch.setattr(probe, "prog_type", lambda _: False)
    monkeypatch.setattr(watch_verdicts, "BpfObject", load)
    with (
        Program.load(ProgramSpec("xdp_pass")) as program,
        pytest.raises(InputError, match="refuses programs at the end of other programs"),
    ):
        VerdictWatch(program.fd, 1, 1, 1)
