# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""BPF objects, their programs and their maps, as libbpf sees them."""

from __future__ import annotations

import ctypes
import errno as errno_names
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import log
from ._native import OpenOpts, libbpf
from .errors import InputError, KernelError
from .kernel import MapType, ProgType

F_XDP_DEV_BOUND_ONLY = 1 << 6  # BPF_F_XDP_DEV_BOUND_ONLY, linux/bpf.h (Linux 6.3)
F_XDP_HAS_FRAGS = 1 << 5  # BPF_F_XDP_HAS_FRAGS, linux/bpf.h: what the section "xdp.frags" stands for
_ERRNO_FORMAT = 4001  # LIBBPF_ERRNO__FORMAT, bpf/libbpf.h
_LOG_BYTES = 1 << 20


class BpfMap:
    """A map of an object; its definition may be changed until the object is loaded."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @property
    def _live(self) -> int:
        if not self._handle:
            raise InputError("this map's object is closed: nothing can be asked of it any more")
        return self._handle

    def forget(self) -> None:
        """Called when the object is closed: libbpf has freed what the handle points to."""
        self._handle = 0

    @property
    def name(self) -> str:
        """The map's name in the object (the kernel cuts it at 15 characters)."""
        return str(libbpf().bpf_map__name(self._live).decode())

    @property
    def fd(self) -> int:
        """File descriptor, owned by the object; negative before the load."""
        return int(libbpf().bpf_map__fd(self._live))

    @property
    def type(self) -> MapType:
        """The map's type."""
        return MapType(libbpf().bpf_map__type(self._live))

    @property
    def max_entries(self) -> int:
        """Number of entries."""
        return int(libbpf().bpf_map__max_entries(self._live))

    @max_entries.setter
    def max_entries(self, entries: int) -> None:
        result = libbpf().bpf_map__set_max_entries(self._live, entries)
        if result:
            raise KernelError("set max_entries", self.name, result, hint="do it before the object is loaded")

    @property
    def is_internal(self) -> bool:
        """True for `.rodata`, `.data`, `.bss` and `.kconfig`."""
        return bool(libbpf().bpf_map__is_internal(self._live))

    def reuse_fd(self, fd: int) -> None:
        """Makes the object share an existing map instead of creating its own."""
        result = libbpf().bpf_map__reuse_fd(self._live, fd)
        if result:
            raise KernelError(
                "reuse map", f"{self.name} from fd {fd}", result, hint="the fd must be a BPF map"
            )

    def initial_value(self) -> memoryview:
        """The section's start values, writable until the load; the live content is mapped from `fd`."""
        size = ctypes.c_size_t()
        address = libbpf().bpf_map__initial_value(self._live, ctypes.byref(size))
        if not address:
            raise InputError(f"map {self.name} is no data section of the object")
        return memoryview((ctypes.c_char * size.value).from_address(address)).cast("B")


class BpfProgram:
    """A program of an object."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @property
    def _live(self) -> int:
        if not self._handle:
            raise InputError("this program's object is closed: nothing can be asked of it any more")
        return self._handle

    def forget(self) -> None:
        """Called when the object is closed: libbpf has freed what the handle points to."""
        self._handle = 0

    @property
    def handle(self) -> int:
        """`struct bpf_program *`."""
        return self._live

    @property
    def name(self) -> str:
        """The function's name."""
        return str(libbpf().bpf_program__name(self._live).decode())

    @property
    def section(self) -> str:
        """The ELF section, such as "xdp" or "xdp.frags"."""
        return str(libbpf().bpf_program__section_name(self._live).decode())

    @property
    def type(self) -> ProgType:
        """The program's type."""
        return ProgType(libbpf().bpf_program__type(self._live))

    @property
    def fd(self) -> int:
        """File descriptor, owned by the object; negative before the load."""
        return int(libbpf().bpf_program__fd(self._live))

    @property
    def flags(self) -> int:
        """BPF_F_* with which it is loaded; to be set before the load."""
        return int(libbpf().bpf_program__flags(self._live))

    @flags.setter
    def flags(self, flags: int) -> None:
        result = libbpf().bpf_program__set_flags(self._live, flags)
        if result:
            raise KernelError("set flags of program", self.name, result, hint="do it before the load")

    def bind_to(self, ifindex: int) -> None:
        """Binds the program to one device of the calling thread's network namespace, before the load.

        It can then ask the driver for what it knows of a packet (`bpf_xdp_metadata_rx_*`), and be attached to
        that device only, in native mode only.
        """
        libbpf().bpf_program__set_ifindex(self._live, ifindex)
        self.flags |= F_XDP_DEV_BOUND_ONLY

    def set_attach_target(self, function: str, prog_fd: int = 0) -> None:
        """Says what a program of section "fentry", "fexit" or "freplace" is for, before the load.

        Args:
            function: of a loaded program, by its full name; or of the kernel.
            prog_fd: that program, which must have been loaded with BTF; 0 for the kernel.

        Raises:
            KernelError: there is no such function, or it has no BTF; `log` holds what libbpf said.
        """
        with log.captured() as said:
            result = libbpf().bpf_program__set_attach_target(self._live, prog_fd, function.encode())
        if result:
            hint = said[-1].removeprefix("libbpf: ") if said else "BTF names no such function there"
            raise KernelError("set attach target", function, result, hint, log="\n".join(said))

    def set_autoload(self, load: bool) -> None:
        """Says whether loading the object loads this program."""
        libbpf().bpf_program__set_autoload(self._live, load)


class BpfObject:
    """An opened BPF object file; `load` creates its maps and loads its programs.

    Args:
        source: path of an ELF object, or its bytes.
        name: the object's name, needed with bytes (libbpf names `.rodata` and `.bss` maps after it).
        log_level: 0 keeps the verifier's log of failures only, 1 always, 2 in more detail, 4 statistics.

    Raises:
        InputError: no such file, or no BPF object.
        KernelError: libbpf could not read it.
    """

    def __init__(self, source: Path | bytes, *, name: str | None = None, log_level: int = 0) -> None:
        self._handle = 0
        self._log = ctypes.create_string_buffer(_LOG_BYTES)
        self._options = OpenOpts(
            ctypes.sizeof(OpenOpts),
            name.encode() if name else None,
            kernel_log_buf=ctypes.addressof(self._log),
            kernel_log_size=_LOG_BYTES,
            kernel_log_level=log_level,
        )
        self.name = name or (str(source) if isinstance(source, Path) else "object in memory")
        if isinstance(source, Path):
            self._check_file(source)
        with log.captured() as said:
            if isinstance(source, Path):
                handle = libbpf().bpf_object__open_file(os.fsencode(source), ctypes.byref(self._options))
            else:
                handle = libbpf().bpf_object__open_mem(source, len(source), ctypes.byref(self._options))
            number = ctypes.get_errno()
        if not handle:
            if number == _ERRNO_FORMAT:
                reason = said[-1].removeprefix("libbpf: ") if said else "not in BPF object format"
                raise InputError(
                    f"{self.name} cannot be used as a BPF object: {reason}; compile it with clang -target bpf"
                )
            raise KernelError("open BPF object", self.name, number, log="\n".join(said))
        self._handle = handle
        self.programs: Mapping[str, BpfProgram] = {p.name: p for p in self._each_program()}
        self.maps: Mapping[str, BpfMap] = {m.name: m for m in self._each_map()}

    def _check_file(self, path: Path) -> None:
        # libbpf would answer with an errno only; these sentences say what is wrong.
        if path.is_dir():
            raise InputError(f"{path} is a directory, not a BPF object file")
        if path.is_fifo():  # to open it would wait for a writer
            raise InputError(f"{path} is a pipe, not a BPF object file")
        try:
            with path.open("rb") as file:
                magic = file.read(20)
        except FileNotFoundError:
            raise InputError(f"no such BPF object file: {path}") from None
        except OSError as error:
            raise InputError(f"cannot read BPF object file {path}: {error.strerror}") from None
        if magic[:4] != b"\x7fELF":
            raise InputError(
                f"{path} is not an ELF file; compile the program with clang -target bpf -g -O2 -c"
            )
        machine = int.from_bytes(magic[18:20], "little" if magic[5:6] == b"\x01" else "big")
        if machine != 247:  # EM_BPF, linux/elf-em.h
            raise InputError(
                f"{path} is an ELF file, but not for BPF; compile the program with clang -target bpf"
            )

    def _each_program(self) -> Iterator[BpfProgram]:
        program = libbpf().bpf_object__next_program(self._handle, None)
        while program:
            yield BpfProgram(program)
            program = libbpf().bpf_object__next_program(self._handle, program)

    def _each_map(self) -> Iterator[BpfMap]:
        bpf_map = libbpf().bpf_object__next_map(self._handle, None)
        while bpf_map:
            yield BpfMap(bpf_map)
            bpf_map = libbpf().bpf_object__next_map(self._handle, bpf_map)

    @property
    def handle(self) -> int:
        """`struct bpf_object *`."""
        return self._handle

    @property
    def btf(self) -> int:
        """`struct btf *` of the object, 0 if it has none; lives as long as the object."""
        return int(libbpf().bpf_object__btf(self._handle) or 0)

    @property
    def verifier_log(self) -> str:
        """What the verifier wrote at the last load."""
        return self._log.value.decode(errors="replace")

    def load(self) -> None:
        """Creates the maps and loads the programs.

        Raises:
            KernelError: refused; `log` holds the verifier's log, or what libbpf said.
        """
        with log.captured() as said:
            result = libbpf().bpf_object__load(self._handle)
        if not result:
            return
        verifier = self.verifier_log
        verdict = last_verdict(verifier)
        if -result in (errno_names.EPERM, errno_names.EACCES) and not verifier:
            hint = "loading BPF programs needs CAP_BPF and CAP_NET_ADMIN: run as root"
            if os.geteuid() == 0:
                hint = "the kernel refuses this type of program even to root"
        elif verdict:
            hint = f"the verifier says: {verdict}"
        else:
            hint = said[0].removeprefix("libbpf: ") if said else ""
        raise KernelError("load BPF object", self.name, result, hint=hint, log=verifier or "\n".join(said))

    def close(self) -> None:
        """Unloads what nothing else holds; programs and maps of this object are not usable afterwards."""
        if self._handle:
            for each_map in self.maps.values():
                each_map.forget()
            for program in self.programs.values():
                program.forget()
            libbpf().bpf_object__close(self._handle)
            self._handle = 0

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def last_verdict(verifier_log: str) -> str:
    """The line of a verifier's log that says why it refused: the last that is no statistic and no summary."""
    summary = ("processed ", "verification time", "stack depth", "-- ", "max_states")
    lines = [line.strip() for line in verifier_log.splitlines()]
    said = [line for line in lines if line and not line.startswith(summary) and "BEGIN PROG" not in line]
    return said[-1] if said else ""
