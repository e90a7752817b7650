# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict function is found by name or as an object, whatever made it; what is none is refused."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest

from forwarder.cli import parse
from forwarder.spec import ForwarderSpec
from forwarder.verdict import (
    BACK,
    DROP,
    INCLUDE,
    VERDICT_TYPE,
    Verdict,
    prepare,
    resolve,
    verdict_function,
)
from xdp.pyxdp.errors import InputError

SOURCE = """\
#include <xdplab_verdict.h>
#include <string.h>
uint32_t decide(uint8_t *data, uint32_t len, void *context)
{
	uint64_t seen;
	if (context) {
		memcpy(&seen, context, sizeof(seen));
		seen++;
		memcpy(context, &seen, sizeof(seen));
	}
	data[0] ^= 1;
	return len >= 64 ? XDPLAB_BACK : XDPLAB_DROP;
}
"""


@verdict_function
def by_length(data: Any, length: Any, context: Any) -> Any:
    data[0] ^= 1
    return 1 if length >= 64 else 0


@VERDICT_TYPE  # type: ignore[untyped-decorator]  # ctypes' own
def in_python(data: Any, length: int, context: int) -> int:
    data[0] ^= 1
    return BACK if length >= 64 else DROP


class Seen(ctypes.Structure):
    _fields_ = (("packets", ctypes.c_uint64), ("queue", ctypes.c_uint32))


def make_context(queue: int) -> Seen:
    return Seen(queue=queue)


def no_buffer(queue: int) -> int:
    return queue


def ask(verdict: Verdict, packet: bytearray, context: int = 0) -> int:
    view = (ctypes.c_uint8 * len(packet)).from_buffer(packet)
    return int(VERDICT_TYPE(verdict.address)(view, len(packet), context))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object as a user makes it, warnings as errors: the header is clean C and clean C++."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.c").write_text(SOURCE)
    flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{INCLUDE}"]
    subprocess.run(["cc", "-std=c11", *flags, "-o", folder / "libmine.so", folder / "mine.c"], check=True)
    return folder / "libmine.so"


def objects(library: Path) -> dict[str, Any]:
    ffi = cffi.FFI()
    ffi.cdef("uint32_t decide(uint8_t *data, uint32_t len, void *context);")
    opened = ffi.dlopen(str(library))
    return {
        "numba": by_length,
        "ctypes": in_python,
        "ctypes library": ctypes.CDLL(str(library)).decide,
        "cffi": opened.decide,
        "cffi pointer": ffi.cast("void *", opened.decide),
        "symbol": f"{library}:decide",
        "module": f"{__name__}:by_length",
    }


@pytest.mark.parametrize(
    "kind", ["numba", "ctypes", "ctypes library", "cffi", "cffi pointer", "symbol", "module"]
)
def test_whatever_made_it_c_can_call_it(library: Path, kind: str) -> None:
    verdict = resolve(objects(library)[kind])
    long, short = bytearray(64), bytearray(63)
    assert (ask(verdict, long), ask(verdict, short)) == (BACK, DROP)
    assert (long[0], short[0]) == (1, 1), "bytes are rewritten in place"


def test_library_beside_the_user_needs_no_slash(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.parent)
    assert ask(resolve("libmine.so:decide"), bytearray(64)) == BACK


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("./none.so:decide", r"--verdict ./none.so:decide: .*No such file"),
        ("nomodule:decide", "--verdict nomodule:decide: No module named 'nomodule'"),
        ("forwarder.verdict:INCLUDE", "is no verdict function: give a numba.cfunc"),
        (len, "builtin_function_or_method is no verdict function"),
        (lambda *_: 0, "function is no verdict function"),
        (None, "--action verdict needs --verdict"),
    ],
)
def test_what_is_none_is_refused(function: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        prepare(ForwarderSpec("dut0", action="verdict"), 0, function)
    assert "\n" not in str(refused.value)


def test_missing_symbol_is_named(library: Path) -> None:
    with pytest.raises(InputError, match="undefined symbol: nothing"):
        resolve(f"{library}:nothing")


@pytest.mark.parametrize("made", ["bytes", "function", "object"])
def test_context_is_this_queues_memory(library: Path, made: str) -> None:
    named = {"bytes": "16", "function": f"{__name__}:make_context", "object": ""}[made]
    given: Any = np.zeros(2, dtype=np.uint64) if made == "object" else None
    spec = ForwarderSpec("dut0", action="verdict", verdict=f"{library}:decide", verdict_context=named)
    prepared = prepare(spec, 3, context=given)
    for _ in range(5):
        ask(Verdict(prepared.address), bytearray(60), prepared.context)
    seen = Seen.from_address(prepared.context)
    assert seen.packets == 5
    assert seen.queue == (3 if made == "function" else 0)
    other = prepare(spec, 4)
    assert other.context != prepared.context


def test_context_that_is_no_memory_is_refused(library: Path) -> None:
    spec = ForwarderSpec(
        "dut0", action="verdict", verdict=f"{library}:decide", verdict_context=f"{__name__}:no_buffer"
    )
    with pytest.raises(
        InputError, match="no_buffer: a bytes-like object is required, not 'int'; give a writable"
    ):
        prepare(spec, 0)
    with pytest.raises(InputError, match="give a writable buffer"):
        prepare(ForwarderSpec("dut0", action="verdict", verdict=f"{library}:decide"), 0, context=b"constant")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--action", "verdict"], "--action verdict needs --verdict MODULE:NAME or PATH.so:SYMBOL"),
        (["--verdict", "mine"], "--verdict mine: write MODULE:NAME or PATH.so:SYMBOL"),
        (["--action", "drop", "--verdict", "m:f"], "belong to --action verdict"),
        (["--verdict", "m:f", "--verdict-context", "0"], "--verdict-context 0: write bytes"),
        (["--verdict", "m:f", "--verdict-context", "-5"], "--verdict-context"),
    ],
)
def test_options_that_cannot_be_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(["-i", "dut0", *argv])


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(InputError, match=r"needs numba .*pip install 'xdplab\[numba\]'"):
        verdict_function(lambda _data, _length, _context: 0)


def test_folder_of_the_header_is_printed() -> None:
    command = [sys.executable, "-m", "forwarder.verdict"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert (Path(printed.strip()) / "xdplab_verdict.h").exists()
