# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Tries of what differs from kernel to kernel: each raises where the kernel refuses, and leaves nothing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

from .netns import CLONE_NEWNET
from .pyxdp import dispatcher, run, tracepoint, xdplink, xsk
from .pyxdp._native import LinkCreateOpts, libbpf
from .pyxdp.bpf import BpfObject, BpfProgram
from .pyxdp.btf import Btf
from .pyxdp.errors import InputError, KernelError

OBJECT = "feature_tries"
CLONE_NEWNS = 0x20000  # linux/sched.h
MS_REC, MS_PRIVATE = 16384, 1 << 18  # linux/mount.h
LOOPBACK = 1  # the index of lo in every network namespace
BPF_TCX_INGRESS = 46  # enum bpf_attach_type, linux/bpf.h
XDP_UMEM_REG = 4  # linux/if_xdp.h
XDP_UMEM_TX_METADATA_LEN = 1 << 2
FRAME = bytes(60)
BPFFS = Path("/sys/fs/bpf")
KPROBES = Path("/sys/bus/event_source/devices/kprobe/type")


def trampoline(kind: str) -> None:
    """A program at the entry (fentry) or the end (fexit) of any function of the kernel."""
    with _loaded(f"try_{kind}") as program:
        os.close(tracepoint.attach(program.fd))


def kprobe() -> None:
    """A program at a breakpoint in any function of the kernel."""
    with _loaded("try_kprobe") as program, contextlib.ExitStack() as undo:
        link = libbpf().bpf_program__attach(program.handle)
        if not link:
            number = ctypes.get_errno()
            hint = "" if KPROBES.exists() else "the kernel has no kprobes (CONFIG_KPROBE_EVENTS)"
            raise KernelError("attach a kprobe", "bpf_fentry_test1", number, hint)
        undo.callback(libbpf().bpf_link__destroy, link)


def xdp_link() -> None:
    """XDP by bpf_link, which ends with its owner (Linux 5.9); by netlink it would stay."""
    with _loaded("try_xdp") as program:
        fd = program.fd
        _in_private_namespace(lambda: os.close(xdplink.link_create(fd, LOOPBACK, xdplink.FLAGS_GENERIC)))


def tcx() -> None:
    """Programs of tc by bpf_link (Linux 6.6)."""
    with _loaded("try_tc") as program:
        fd = program.fd

        def attach() -> None:
            options = LinkCreateOpts(ctypes.sizeof(LinkCreateOpts), 0)
            link = libbpf().bpf_link_create(fd, LOOPBACK, BPF_TCX_INGRESS, ctypes.byref(options))
            if link < 0:
                raise KernelError("attach a tc program by link", "lo", link)
            os.close(link)

        _in_private_namespace(attach)


def live_frames() -> None:
    """Frames made inside the kernel by BPF_PROG_TEST_RUN (Linux 5.18)."""
    with _loaded("try_xdp") as program:
        # Old kernels ignore the flag, run the program as ever, and give what it returned; live frames give 0.
        if run.run(program.fd, FRAME, repeat=1, flags=run.LIVE_FRAMES).value:
            raise InputError("the kernel ignores BPF_F_TEST_XDP_LIVE_FRAMES (Linux 5.18)")


def several_programs() -> None:
    """The dispatcher of libxdp, which calls several XDP programs of one device."""
    with _opened("try_xdp") as bpf:
        _in_private_namespace(lambda: dispatcher.try_dispatcher(bpf, "xdp", LOOPBACK))


def multi_buffer() -> None:
    """XDP programs that take frames in several buffers (Linux 5.18)."""
    with _loaded("try_frags"):
        pass


def socket_multi_buffer() -> None:
    """AF_XDP packets in several frames (XDP_USE_SG, Linux 6.6)."""
    with _registered() as one:
        # A bind to no device: what the flag is not known to is refused before the device is looked for.
        _bind(one, xsk.XDP_USE_SG)


def atomics() -> None:
    """Instructions that change a word and give what it was (Linux 5.12)."""
    with _loaded("try_atomics"):
        pass


def rx_metadata() -> None:
    """Hints of the driver for a received frame: time, hash, VLAN (kfuncs, Linux 6.3)."""
    with Btf() as btf:
        if not btf.has_function("bpf_xdp_metadata_rx_timestamp"):
            raise InputError("the kernel has no function bpf_xdp_metadata_rx_timestamp (Linux 6.3)")


def tx_metadata() -> None:
    """Time stamps and checksums for sent AF_XDP frames (XDP_UMEM_TX_METADATA_LEN, Linux 6.11)."""
    with _registered(flags=XDP_UMEM_TX_METADATA_LEN, tx_metadata=16):
        pass


def tx_budget() -> None:
    """More than 32 frames a system call in copy mode (XDP_MAX_TX_SKB_BUDGET, Linux 6.18)."""
    with socket.socket(xsk.AF_XDP, socket.SOCK_RAW) as one:
        try:
            one.setsockopt(xsk.SOL_XDP, xsk.XDP_MAX_TX_SKB_BUDGET, 64)
        except OSError as error:
            if error.errno != errno.EACCES:  # known, but this socket has no TX ring yet
                raise KernelError("set XDP_MAX_TX_SKB_BUDGET", "AF_XDP socket", error.errno or 0) from None


def busy_poll() -> None:
    """A socket that is polled instead of interrupted for (SO_PREFER_BUSY_POLL, Linux 5.11)."""
    with socket.socket(xsk.AF_XDP, socket.SOCK_RAW) as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, xsk.SO_PREFER_BUSY_POLL, 1)
        except OSError as error:
            raise KernelError("set SO_PREFER_BUSY_POLL", "AF_XDP socket", error.errno or 0) from None


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BpfObject]:
    source = (files("xdp") / "objects" / f"{OBJECT}.bpf.o").read_bytes()
    with BpfObject(source, name=OBJECT) as bpf:
        for program in bpf.programs.values():
            program.set_autoload(program.name == name)
        yield bpf


@contextlib.contextmanager
def _loaded(name: str) -> Iterator[BpfProgram]:
    with _opened(name) as bpf:
        bpf.load()
        yield bpf.programs[name]


@contextlib.contextmanager
def _registered(flags: int = 0, tx_metadata: int = 0) -> Iterator[socket.socket]:
    """An AF_XDP socket with the smallest UMEM."""
    import mmap

    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with memory, socket.socket(xsk.AF_XDP, socket.SOCK_RAW) as one:
        held = ctypes.c_char.from_buffer(memory)
        # struct xdp_umem_reg, linux/if_xdp.h: addr, len, chunk_size, headroom, flags, tx_metadata_len
        area = struct.pack("QQIIII", ctypes.addressof(held), size, size, 0, flags, tx_metadata)
        del held
        try:
            one.setsockopt(xsk.SOL_XDP, XDP_UMEM_REG, area)
        except OSError as error:
            raise KernelError("register UMEM", f"flags {flags:#x}", error.errno or 0) from None
        yield one


def _bind(one: socket.socket, flags: int) -> None:
    """Binds to a device that does not exist: ENODEV says that the flags are known."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct sockaddr_xdp, linux/if_xdp.h: family, flags, ifindex, queue, fd of a shared UMEM
    address = struct.pack("HHIII", xsk.AF_XDP, flags, 0x7FFFFFFF, 0, 0)
    libc.bind(one.fileno(), address, len(address))
    number = ctypes.get_errno()
    if number != errno.ENODEV:
        raise KernelError("bind AF_XDP socket", f"flags {flags:#x}", number)


def _in_private_namespace(call: Callable[[], None]) -> None:
    """Calls in a thread whose network, and whose bpffs, nobody else sees, and which end with it."""

    def inside() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) or libc.mount(
            b"none", b"/", None, MS_REC | MS_PRIVATE, None
        ):
            raise KernelError("create namespaces", "for a try", ctypes.get_errno(), "run as root")
        # libxdp would mount one on the host's, and makes its folder only once in the life of a process.
        if libc.mount(b"bpf", str(BPFFS).encode(), b"bpf", 0, None) == 0:
            (BPFFS / "xdp").mkdir(mode=0o700)
        call()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(inside).result()
