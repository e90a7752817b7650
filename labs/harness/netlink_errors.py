# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the kernel answers over netlink, in our words."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from xdp.pyxdp.errors import KernelError


@contextlib.contextmanager
def kernel_errors(operation: str, subject: str, exists: str = "", allowed: int = 0) -> Iterator[None]:
    """Turn pyroute2's errors into ours."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if error.code != allowed:
            hint = exists if error.code == errno.EEXIST else ""
            raise KernelError(operation, subject, error.code, hint) from error
