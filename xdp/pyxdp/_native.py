# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The shared libraries and the prototypes of what we call in them; no logic."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int32, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

from .errors import InputError


class OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts (bpf/libbpf.h), as of libbpf 1.0."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_char_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class TestRunOpts(ctypes.Structure):
    """struct bpf_test_run_opts (bpf/bpf.h)."""

    __test__ = False  # the name is the library's, and no test of pytest's

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class LinkCreateOpts(ctypes.Structure):
    """struct bpf_link_create_opts (bpf/bpf.h), up to what XDP links use, padded to its size in libbpf 1.1."""

    _fields_ = (
        ("sz", c_size_t),
        ("flags", c_uint32),
        ("iter_info", c_void_p),
        ("iter_info_len", c_uint32),
        ("target_btf_id", c_uint32),
        ("kind_specific", c_uint64 * 4),
    )


class XdpAttachOpts(ctypes.Structure):
    """struct bpf_xdp_attach_opts (bpf/libbpf.h)."""

    _fields_ = (("sz", c_size_t), ("old_prog_fd", c_int))


class XdpQueryOpts(ctypes.Structure):
    """struct bpf_xdp_query_opts (bpf/libbpf.h), as of libbpf 1.0."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", ctypes.c_uint8),
    )


class BtfType(ctypes.Structure):
    """struct btf_type (linux/btf.h)."""

    _fields_ = (("name_off", c_uint32), ("info", c_uint32), ("size_or_type", c_uint32))


class Ring(ctypes.Structure):
    """struct xsk_ring_prod and struct xsk_ring_cons (xdp/xsk.h): one layout, two meanings."""

    _fields_ = (
        ("cached_prod", c_uint32),
        ("cached_cons", c_uint32),
        ("mask", c_uint32),
        ("size", c_uint32),
        ("producer", POINTER(c_uint32)),
        ("consumer", POINTER(c_uint32)),
        ("ring", c_void_p),
        ("flags", POINTER(c_uint32)),
    )


class UmemConfig(ctypes.Structure):
    """struct xsk_umem_config (xdp/xsk.h)."""

    _fields_ = (
        ("fill_size", c_uint32),
        ("comp_size", c_uint32),
        ("frame_size", c_uint32),
        ("frame_headroom", c_uint32),
        ("flags", c_uint32),
    )


class SocketConfig(ctypes.Structure):
    """struct xsk_socket_config (xdp/xsk.h)."""

    _fields_ = (
        ("rx_size", c_uint32),
        ("tx_size", c_uint32),
        ("libxdp_flags", c_uint32),
        ("xdp_flags", c_uint32),
        ("bind_flags", c_uint16),
    )


# int fn(enum level, const char *format, va_list args): va_list is passed as an address on the 64-bit ABIs.
PRINT_FN = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
RING_SAMPLE_FN = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)

_BPF: dict[str, tuple[Any, ...]] = {
    # name: (result, arguments…)
    "libbpf_set_print": (c_void_p, c_void_p),
    "libbpf_num_possible_cpus": (c_int,),
    "libbpf_major_version": (c_uint32,),
    "libbpf_minor_version": (c_uint32,),
    "libbpf_probe_bpf_prog_type": (c_int, c_int, c_void_p),
    "libbpf_probe_bpf_map_type": (c_int, c_int, c_void_p),
    "bpf_object__open_file": (c_void_p, c_char_p, POINTER(OpenOpts)),
    "bpf_object__open_mem": (c_void_p, c_char_p, c_size_t, POINTER(OpenOpts)),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__section_name": (c_char_p, c_void_p),
    "bpf_program__type": (c_int, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, c_bool),
    "bpf_program__set_type": (c_int, c_void_p, c_int),
    "bpf_program__set_flags": (c_int, c_void_p, c_uint32),
    "bpf_program__flags": (c_uint32, c_void_p),
    "bpf_program__set_attach_target": (c_int, c_void_p, c_int, c_char_p),
    "bpf_program__set_ifindex": (None, c_void_p, c_uint32),
    "bpf_program__attach": (c_void_p, c_void_p),
    "bpf_link__destroy": (c_int, c_void_p),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__type": (c_int, c_void_p),
    "bpf_map__key_size": (c_uint32, c_void_p),
    "bpf_map__value_size": (c_uint32, c_void_p),
    "bpf_map__max_entries": (c_uint32, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_map__is_internal": (c_bool, c_void_p),
    "bpf_map__set_pin_path": (c_int, c_void_p, c_char_p),
    "bpf_map__initial_value": (c_void_p, c_void_p, POINTER(c_size_t)),
    "bpf_map_create": (c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_lookup_elem": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_delete_elem": (c_int, c_int, c_void_p),
    "bpf_map_get_next_key": (c_int, c_int, c_void_p, c_void_p),
    "bpf_obj_pin": (c_int, c_int, c_char_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_obj_get_info_by_fd": (c_int, c_int, c_void_p, POINTER(c_uint32)),
    "bpf_prog_get_next_id": (c_int, c_uint32, POINTER(c_uint32)),
    "bpf_map_get_next_id": (c_int, c_uint32, POINTER(c_uint32)),
    "bpf_link_get_next_id": (c_int, c_uint32, POINTER(c_uint32)),
    "bpf_prog_get_fd_by_id": (c_int, c_uint32),
    "bpf_map_get_fd_by_id": (c_int, c_uint32),
    "bpf_link_get_fd_by_id": (c_int, c_uint32),
    "bpf_prog_load": (c_int, c_int, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p),
    "bpf_prog_test_run_opts": (c_int, c_int, POINTER(TestRunOpts)),
    "bpf_link_update": (c_int, c_int, c_int, c_void_p),
    "bpf_link_create": (c_int, c_int, c_int, c_int, POINTER(LinkCreateOpts)),
    "bpf_link_detach": (c_int, c_int),
    "bpf_raw_tracepoint_open": (c_int, c_char_p, c_int),
    "bpf_enable_stats": (c_int, c_int),
    "bpf_xdp_attach": (c_int, c_int, c_int, c_uint32, POINTER(XdpAttachOpts)),
    "bpf_xdp_detach": (c_int, c_int, c_uint32, POINTER(XdpAttachOpts)),
    "bpf_xdp_query": (c_int, c_int, c_int, POINTER(XdpQueryOpts)),
    "ring_buffer__new": (c_void_p, c_int, RING_SAMPLE_FN, c_void_p, c_void_p),
    "ring_buffer__free": (None, c_void_p),
    "ring_buffer__poll": (c_int, c_void_p, c_int),
    "ring_buffer__consume": (c_int, c_void_p),
    "btf__load_vmlinux_btf": (c_void_p,),
    "btf__load_from_kernel_by_id": (c_void_p, c_uint32),
    "btf__parse": (c_void_p, c_char_p, c_void_p),
    "btf__free": (None, c_void_p),
    "btf__find_by_name_kind": (c_int32, c_void_p, c_char_p, c_uint32),
    "btf__type_by_id": (POINTER(BtfType), c_void_p, c_uint32),
    "btf__name_by_offset": (c_char_p, c_void_p, c_uint32),
    "btf__resolve_size": (ctypes.c_int64, c_void_p, c_uint32),
}

_XDP: dict[str, tuple[Any, ...]] = {
    "libxdp_set_print": (c_void_p, c_void_p),
    "xdp_program__from_bpf_obj": (c_void_p, c_void_p, c_char_p),
    "xdp_program__from_fd": (c_void_p, c_int),
    "xdp_program__attach": (c_int, c_void_p, c_int, c_int, ctypes.c_uint),
    "xdp_program__detach": (c_int, c_void_p, c_int, c_int, ctypes.c_uint),
    "xdp_program__close": (None, c_void_p),
    "libxdp_get_error": (ctypes.c_long, c_void_p),
    "xsk_umem__create": (
        c_int,
        POINTER(c_void_p),
        c_void_p,
        c_uint64,
        POINTER(Ring),
        POINTER(Ring),
        POINTER(UmemConfig),
    ),
    "xsk_umem__delete": (c_int, c_void_p),
    "xsk_umem__fd": (c_int, c_void_p),
    "xsk_socket__create": (
        c_int,
        POINTER(c_void_p),
        c_char_p,
        c_uint32,
        c_void_p,
        POINTER(Ring),
        POINTER(Ring),
        POINTER(SocketConfig),
    ),
    "xsk_socket__create_shared": (
        c_int,
        POINTER(c_void_p),
        c_char_p,
        c_uint32,
        c_void_p,
        POINTER(Ring),
        POINTER(Ring),
        POINTER(Ring),
        POINTER(Ring),
        POINTER(SocketConfig),
    ),
    "xsk_socket__delete": (None, c_void_p),
    "xsk_socket__fd": (c_int, c_void_p),
    "xsk_socket__update_xskmap": (c_int, c_void_p, c_int),
}


def _load(soname: str, package: str, prototypes: dict[str, tuple[Any, ...]]) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(soname, use_errno=True)
    except OSError as error:
        raise InputError(
            f"{soname} is not installed ({error}): install your distribution's {package}"
        ) from error
    for name, (result, *arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@functools.cache
def libbpf() -> ctypes.CDLL:
    """Libbpf 1.x, with prototypes set.

    Raises:
        InputError: the library is not installed.
    """
    library = _load("libbpf.so.1", "libbpf (Debian: libbpf1)", _BPF)
    from .log import print_callback  # the callback needs this module's types

    library.libbpf_set_print(ctypes.cast(print_callback, c_void_p))
    return library


@functools.cache
def libxdp() -> ctypes.CDLL:
    """Libxdp 1.2 or newer, with prototypes set.

    Raises:
        InputError: the library is not installed.
    """
    libbpf()
    library = _load("libxdp.so.1", "libxdp (Debian: libxdp1)", _XDP)
    from .log import print_callback

    library.libxdp_set_print(ctypes.cast(print_callback, c_void_p))
    return library
