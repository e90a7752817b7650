# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The two ways in which a call can fail: the caller's input, or the kernel's refusal."""

from __future__ import annotations

import errno as errno_names
import os


class InputError(ValueError):
    """What the caller gave cannot be used; the message is one sentence that says what to do."""


class KernelError(OSError):
    """The kernel, libbpf or libxdp refused an operation.

    Attributes:
        operation: what was tried, in the field's words ("bind AF_XDP socket").
        object: on what ("dut0 queue 0").
        errno: the positive error number.
        hint: what the user can do about it, or "".
        log: the verifier's log, or "".
    """

    def __init__(self, operation: str, object: str, errno: int, hint: str = "", log: str = "") -> None:  # noqa: A002 (the field's word)
        self.operation = operation
        self.object = object
        self.hint = hint
        self.log = log
        errno = abs(errno)
        super().__init__(errno, os.strerror(errno))

    def __str__(self) -> str:
        name = errno_names.errorcode.get(self.errno or 0, str(self.errno))
        text = f"{self.operation} ({self.object}): {self.strerror} [{name}]"
        return f"{text}; {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[type[KernelError], tuple[str, str, int, str, str]]:
        # OSError's own would lose all but errno and text when the error crosses a process boundary.
        return (type(self), (self.operation, self.object, self.errno or 0, self.hint, self.log))
