# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""pyxdp-ctypes: a typed ctypes binding of libbpf and libxdp.

It knows nothing of the project around it. A module a subject: `bpf` (objects, programs, maps of an object),
`maps` (elements by fd), `kernel` (ids and infos), `xdplink` and `dispatcher` (attaching), `run`
(BPF_PROG_TEST_RUN), `ringbuf`, `btf`, `probe`, `xsk` (AF_XDP). Errors: `InputError` and `KernelError`.
"""

from .errors import InputError, KernelError

__all__ = ["InputError", "KernelError"]
