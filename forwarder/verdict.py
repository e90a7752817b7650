# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Verdict functions of the user's, called in C for each packet: from Python, from C, from anywhere.

A verdict function is `uint32_t decide(uint8_t *data, uint32_t len, void *context)` and answers DROP, BACK,
FORWARD, NOT_MATCHED or HOST; `include/xdplab_verdict.h` says what it may do. In Python it is a `numba.cfunc`:

    from forwarder.verdict import BACK, DROP, verdict_function

    @verdict_function  # numba.cfunc(VERDICT_SIGNATURE)
    def decide(data, length, context):
        return BACK if length >= 64 else DROP

From Python an object need not have a name: with a spec whose action is "verdict", one queue is
`BatchLoop(spec, 0, counters, verdict=decide, context=buffer)`, all are
`Forwarder(spec, descriptors, verdict=decide, context=make_buffer)`.

`python -m forwarder.verdict` prints the folder of the C header.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdp.pyxdp.errors import InputError

from . import _batch
from .named import load

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .spec import ForwarderSpec

DROP, BACK, FORWARD = _batch.DROP, _batch.BACK, _batch.FORWARD
NOT_MATCHED, HOST = _batch.NOT_MATCHED, _batch.HOST
CAPTURE, MIRROR = _batch.CAPTURE, _batch.MIRROR  # marks: may be or'ed to any of these
VERDICT_SIGNATURE = "uint32(CPointer(uint8), uint32, voidptr)"
"""For `numba.cfunc`; `numba.carray(data, length)` makes an array of `data`."""
VERDICT_TYPE = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32, ctypes.c_void_p
)
"""For ctypes. A Python function wrapped in it works, but takes the GIL for every packet: for trials only."""
INCLUDE = Path(__file__).parent / "include"
"""Where `xdplab_verdict.h` lies, for a C compiler's -I."""


@dataclass(frozen=True)
class Verdict:
    """A function that C can call.

    Attributes:
        address: where it begins.
        kept: what must live as long as it may be called.
    """

    address: int
    kept: object = field(default=None, repr=False, compare=False)


def verdict_function(function: Callable[[Any, Any, Any], Any]) -> Any:
    """Decorator: `numba.cfunc(VERDICT_SIGNATURE)`, so that `function(data, length, context)` runs at C speed.

    Raises:
        InputError: numba is not installed.
        numba.core.errors.NumbaError: it cannot compile the function.
    """
    try:
        from numba import cfunc
    except ImportError as error:
        raise InputError(
            f"a verdict function in Python needs numba ({error}): pip install 'xdplab[numba]'"
        ) from error
    return cfunc(VERDICT_SIGNATURE)(function)


def resolve(function: object) -> Verdict:
    """Finds the address of a verdict function.

    Args:
        function: "module:name", "path.so:symbol", a `numba.cfunc`, a function pointer of ctypes or cffi, or a
            `Verdict`. Its signature is the caller's to keep: C cannot see it.

    Raises:
        InputError: there is no such thing, or it is nothing that C can call.
    """
    if isinstance(function, Verdict):
        return function
    if isinstance(function, str):
        return _named(function)
    address = _address(function)
    if not address:
        raise InputError(
            f"{type(function).__name__} is no verdict function: give a numba.cfunc(VERDICT_SIGNATURE), "
            "a function pointer of ctypes or cffi, or PATH.so:SYMBOL"
        )
    return Verdict(address, function)


def _named(name: str) -> Verdict:
    where, _, symbol = name.rpartition(":")
    if not is_library(where):
        try:
            return resolve(load("--verdict", name))
        except InputError as error:
            message = str(error)
            raise InputError(
                message if message.startswith("--") else f"--verdict {name}: {message}"
            ) from error
    path = Path(where)
    try:
        # Without a slash dlopen would look everywhere but here.
        library = ctypes.CDLL(str(path.resolve() if path.exists() else where))
        return Verdict(ctypes.cast(library[symbol], ctypes.c_void_p).value or 0, library)
    except (OSError, AttributeError) as error:
        raise InputError(f"--verdict {name}: {error}") from error


def is_library(where: str) -> bool:
    """Whether the part before the colon names a shared object, not a Python module."""
    return "/" in where or re.search(r"\.so(\.\d+)*$", where) is not None


def _address(function: object) -> int:
    if isinstance(function, ctypes._CFuncPtr):  # type: ignore[attr-defined]  # its only name
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    if type(function).__module__ == "_cffi_backend":  # its pointers tell of themselves only through cffi
        import cffi

        try:
            return int(cffi.FFI().cast("uintptr_t", function))
        except TypeError:
            return 0
    address = getattr(function, "address", 0)  # numba's CFunc
    return address if isinstance(address, int) else 0


def context_of(spec: ForwarderSpec, queue: int) -> Buffer | None:
    """The memory that the verdict function of one queue gets as its context, as the spec names it.

    Args:
        spec: with `verdict_context` a number of bytes (zeroed), "module:function" (called with the queue's
            number, gives a writable buffer: a ctypes structure, a NumPy array), or "" for none.
        queue: number of the queue.

    Raises:
        InputError: what it names gives no writable buffer.
    """
    name = spec.verdict_context
    if not name:
        return None
    if name.isdigit():
        return bytearray(int(name))
    buffer: Any = load("--verdict-context", name)(queue)
    check_context(f"--verdict-context {name}", buffer)
    return buffer  # type: ignore[no-any-return]  # just checked


def check_context(what: str, buffer: Buffer) -> int:
    """The address of a context.

    Raises:
        InputError: it is no writable buffer.
    """
    try:
        return _batch.address(buffer)
    except (TypeError, BufferError) as error:
        raise InputError(
            f"{what}: {error}; give a writable buffer (ctypes structure, NumPy array)"
        ) from error


@dataclass(frozen=True)
class Prepared:
    """A verdict function and the context of one queue, as addresses; keep it while they are used.

    Attributes:
        address: of the function.
        context: of its context; 0 for none.
        kept: what lies there.
    """

    address: int
    context: int
    kept: tuple[object, ...] = field(repr=False, compare=False)


def prepare(
    spec: ForwarderSpec, queue: int, function: object = None, context: Buffer | None = None
) -> Prepared:
    """What the C loop of one queue is told for the action "verdict".

    Args:
        spec: whose names hold where no object is given.
        queue: number of the queue.
        function: as for `resolve`; None for the spec's.
        context: a writable buffer; None for the spec's.

    Raises:
        InputError: there is no function, or no such context.
    """
    if function is None and not spec.verdict:
        raise InputError("--action verdict needs --verdict MODULE:NAME or PATH.so:SYMBOL")
    verdict = resolve(spec.verdict if function is None else function)
    context = context_of(spec, queue) if context is None else context
    address = 0 if context is None else check_context("the verdict's context", context)
    return Prepared(verdict.address, address, (verdict, context))


if __name__ == "__main__":
    print(INCLUDE)
