# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""BTF: enumerators and members by name, of the running kernel or of an object file."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

from . import log
from ._native import BtfType, libbpf
from .errors import InputError

# BTF_KIND_*, linux/btf.h
_INT, _PTR, _STRUCT, _UNION, _ENUM, _TYPEDEF, _VAR, _DATASEC = 1, 2, 4, 5, 6, 8, 14, 15
_VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO = 9, 10, 11, 12, 13
_REFERENCES = (_PTR, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT)


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of a struct, or a variable of a section: offset and size in bytes."""

    offset: int
    size: int


class Btf:
    """BTF of the running kernel, of a file, or of an opened object (whose it stays); see `by_id`.

    Raises:
        InputError: there is none.
    """

    def __init__(self, source: Path | int | None = None) -> None:
        self._owned = not isinstance(source, int)
        with log.captured():
            if isinstance(source, int):
                self._handle = source
            elif source is None:
                self._handle = libbpf().btf__load_vmlinux_btf()
            else:
                self._handle = libbpf().btf__parse(str(source).encode(), None)
        if not self._handle:
            raise InputError(
                f"no BTF in {source or '/sys/kernel/btf/vmlinux'}: the kernel needs CONFIG_DEBUG_INFO_BTF, "
                "an object file clang's -g"
            )

    @classmethod
    def by_id(cls, number: int) -> Btf:
        """BTF that a program or a map was loaded with, by the id that their infos tell.

        Raises:
            InputError: there is none.
        """
        handle = libbpf().btf__load_from_kernel_by_id(number) if number else None
        if not handle:
            raise InputError("it was loaded without BTF: compile it with clang -g")
        found = cls(int(handle))
        found._owned = True
        return found

    def _find(self, name: str, *kinds: int) -> tuple[int, BtfType]:
        for kind in kinds:
            number = libbpf().btf__find_by_name_kind(self._handle, name.encode(), kind)
            if number > 0:
                return number, libbpf().btf__type_by_id(self._handle, number).contents
        raise InputError(f"BTF names no {name}")

    def _name(self, offset: int) -> str:
        return str(libbpf().btf__name_by_offset(self._handle, offset).decode())

    def _triples(self, found: BtfType) -> list[tuple[int, int, int]]:
        count = found.info & 0xFFFF
        array = ctypes.c_uint32 * (3 * count)
        values = array.from_address(ctypes.addressof(found) + ctypes.sizeof(BtfType))
        return [(values[3 * i], values[3 * i + 1], values[3 * i + 2]) for i in range(count)]

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of an enum of at most 32 bits."""
        _, found = self._find(name, _ENUM)
        count = found.info & 0xFFFF
        start = ctypes.addressof(found) + ctypes.sizeof(BtfType)
        pairs = ((ctypes.c_uint32 * 2) * count).from_address(start)
        return {self._name(pair[0]): ctypes.c_int32(pair[1]).value for pair in pairs}

    def members(self, name: str) -> dict[str, Member]:
        """Members of a struct or union; bit-fields are given by the byte they start in."""
        _, found = self._find(name, _STRUCT, _UNION)
        flagged = found.info >> 31  # kind_flag: the offset's upper 8 bits hold a bit-field's size
        result = {}
        for name_offset, type_id, bits in self._triples(found):
            offset = (bits & 0xFFFFFF if flagged else bits) // 8
            size = int(libbpf().btf__resolve_size(self._handle, type_id))
            result[self._name(name_offset)] = Member(offset, size)
        return result

    def has_function(self, name: str) -> bool:
        """Does the kernel have this function, in itself and not in a module?"""
        return int(libbpf().btf__find_by_name_kind(self._handle, name.encode(), _FUNC)) > 0

    def name_of(self, number: int) -> str:
        """The name of a type by its number, "" if it has none."""
        return self._name(self._type(number).name_off)

    def variables(self, section: str) -> dict[str, Member]:
        """Variables of a data section (".rodata", ".bss", ".data")."""
        _, found = self._find(section, _DATASEC)
        result = {}
        for type_id, offset, size in self._triples(found):
            variable = libbpf().btf__type_by_id(self._handle, type_id).contents
            result[self._name(variable.name_off)] = Member(offset, size)
        return result

    def arguments(self, name: str) -> list[str]:
        """The arguments of a typedef of a function (pointer): the name of each one's type, "" for none.

        Pointers, qualifiers and typedefs are looked through: `const struct sk_buff *` is "sk_buff".
        """
        _, found = self._find(name, _TYPEDEF)
        found = self._named(found)
        if _kind(found) != _FUNC_PROTO:
            raise InputError(f"{name} is no function in this BTF")
        start = ctypes.addressof(found) + ctypes.sizeof(BtfType)
        pairs = ((ctypes.c_uint32 * 2) * (found.info & 0xFFFF)).from_address(start)
        return [self._name(self._named(self._type(pair[1])).name_off) if pair[1] else "" for pair in pairs]

    def _type(self, number: int) -> BtfType:
        found: BtfType = libbpf().btf__type_by_id(self._handle, number).contents
        return found

    def _named(self, found: BtfType) -> BtfType:
        while _kind(found) in _REFERENCES and found.size_or_type:
            found = self._type(found.size_or_type)
        return found

    def close(self) -> None:
        """Frees what was loaded here."""
        if self._owned and self._handle:
            libbpf().btf__free(self._handle)
        self._handle = 0

    def __enter__(self) -> Btf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _kind(found: BtfType) -> int:
    return int(found.info >> 24 & 0x1F)
