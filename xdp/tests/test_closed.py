# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A closed object answers nothing: libbpf has freed what its maps and programs point to."""

from __future__ import annotations

from importlib.resources import files

import pytest

from xdp.pyxdp.bpf import BpfObject
from xdp.pyxdp.errors import InputError


def test_nothing_can_be_asked_of_a_closed_object() -> None:
    raw = (files("xdp") / "objects" / "redirect_udp.bpf.o").read_bytes()
    with BpfObject(raw, name="redirect_udp") as bpf:
        xsks_map, program = bpf.maps["xsks_map"], bpf.programs["redirect_udp"]
        assert (xsks_map.name, program.name) == ("xsks_map", "redirect_udp")
    for ask in ("name", "fd", "type"):
        with pytest.raises(InputError, match="this map's object is closed"):
            getattr(xsks_map, ask)
        with pytest.raises(InputError, match="this program's object is closed"):
            getattr(program, ask)
