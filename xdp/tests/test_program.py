# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs: what can be asked for, what is refused and in which words."""

from __future__ import annotations

import errno
from importlib.resources import files
from pathlib import Path

import pytest

from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec, bundled
from xdp.pyxdp import InputError, KernelError, kernel
from xdp.pyxdp.bpf import BpfObject, last_verdict
from xdp.pyxdp.btf import Btf

UNSAFE = 'SEC("xdp") int f(struct xdp_md *c) { return *(int *)(long)c->data; }'
NO_XDP = 'SEC("tc") int f(struct __sk_buff *c) { return 0; }'
TWO = 'SEC("xdp") int a(struct xdp_md *c) { return 1; } SEC("xdp") int b(struct xdp_md *c) { return 2; }'


def built(folder: Path, source: str) -> Path:
    """Functions of a test's own, compiled."""
    path = folder / "user.bpf.c"
    includes = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
    path.write_text(f'{includes}{source}\nchar _license[] SEC("license") = "GPL";\n')
    return compile_bpf(path)


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"no program is called 'redirekt'; there are .*redirect_udp"):
        Program.load(ProgramSpec("redirekt"))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"no such BPF object file: nowhere\.o"):
        Program.load(ProgramSpec("./nowhere.o"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not an ELF file"), (b"text", "not an ELF file"), (b"\x7fELF" + b"\0" * 60, "not for BPF")],
)
def test_a_file_that_is_no_bpf_object_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Program.load(ProgramSpec(str(path)))


def test_a_truncated_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.o"
    path.write_bytes(built(tmp_path, UNSAFE).read_bytes()[:200])
    with pytest.raises((InputError, KernelError), match=r"cut\.o"):
        Program.load(ProgramSpec(str(path)))


def test_an_object_without_xdp_section_says_which_sections_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r'no XDP section \(program sections: tc\); mark a function SEC\("xdp"\)'
    ):
        Program.load(ProgramSpec(str(built(tmp_path, NO_XDP))))


def test_an_unknown_constant_is_answered_with_the_constants_there_are() -> None:
    with pytest.raises(InputError, match="no constant 'port'; const volatile variables in it: udp_port"):
        Program.load(ProgramSpec("redirect_udp", rodata={"port": 1}))


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_constant_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"udp_port={port} does not fit: the constant has 2 bytes"):
        Program.load(ProgramSpec("redirect_udp", rodata={"udp_port": port}))


def test_the_verdict_is_found_in_a_verifier_log() -> None:
    text = "0: R1=ctx()\n; return *p\nR1 invalid mem access 'scalar'\nprocessed 3 insns (limit 1000000)\n"
    assert last_verdict(text) == "R1 invalid mem access 'scalar'"
    assert last_verdict("") == ""


def test_counter_names_are_those_of_the_sources_enum() -> None:
    for name in ("redirect_udp", "redirect_queue"):
        raw = (files("xdp") / "objects" / f"{name}.bpf.o").read_bytes()
        with BpfObject(raw, name=name) as bpf, Btf(bpf.btf) as btf:
            numbers = btf.enumerators("counter")
            assert list(numbers.values()) == list(range(len(numbers)))
            assert numbers["COUNTER_MAX"] == bpf.maps["counters"].max_entries


def test_a_source_that_does_not_compile_is_answered_with_clangs_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clang refuses .*user\.bpf\.c: .*error: "):
        built(tmp_path, "int f(void) { return missing; }")


@pytest.mark.system
def test_the_verifiers_log_rides_in_the_error(tmp_path: Path) -> None:
    path = built(tmp_path, UNSAFE)
    with pytest.raises(KernelError) as caught:
        Program.load(ProgramSpec(str(path)))
    assert caught.value.errno == errno.EACCES
    assert "invalid access to packet" in caught.value.log
    assert "the verifier says: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.system
def test_one_of_several_programs_is_chosen_by_name(tmp_path: Path) -> None:
    path = str(built(tmp_path, TWO))
    with pytest.raises(InputError, match="several XDP programs, name one of a, b"):
        Program.load(ProgramSpec(path))
    with pytest.raises(InputError, match="no XDP program called 'c'; XDP programs in it: a, b"):
        Program.load(ProgramSpec(path, program="c"))
    with Program.load(ProgramSpec(path, program="b")) as program:
        assert program.name == "b"


@pytest.mark.system
def test_every_bundled_program_loads() -> None:
    # redirect_meta is loaded for one device: labs/forwarder/test_metadata.py
    for name in set(bundled()) - {"redirect_meta"}:
        with Program.load(ProgramSpec(name)) as program:
            assert kernel.prog_info(program.fd).name == program.name[:15]


@pytest.mark.system
def test_map_sizes_are_set_before_the_load() -> None:
    with Program.load(ProgramSpec("redirect_queue", map_entries={"xsks_map": 3})) as program:
        assert kernel.map_info(program.map_fd("xsks_map")).max_entries == 3
    with pytest.raises(InputError, match=r"no map 'xsk'; maps in it: .*xsks_map"):
        Program.load(ProgramSpec("redirect_queue", map_entries={"xsk": 3}))


@pytest.mark.system
def test_nothing_of_a_closed_program_is_left() -> None:
    before = {p.name for p in Path("/proc/self/fd").iterdir()}
    for _ in range(3):
        Program.load(ProgramSpec("redirect_udp")).close()
        with pytest.raises(InputError):
            Program.load(ProgramSpec("redirect_udp", rodata={"port": 1}))
    assert {p.name for p in Path("/proc/self/fd").iterdir()} == before


@pytest.mark.system
def test_an_xskmap_cannot_be_looked_up_and_says_so() -> None:
    with Program.load(ProgramSpec("redirect_udp")) as program:
        with pytest.raises(KernelError, match="lets no process do this with a map of type XSKMAP"):
            program.maps["xsks_map"][0]
        assert len(program.maps["xsks_map"]) == 64  # the walk yields every index, occupied or not
