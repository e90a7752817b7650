# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The metadata's layout is one: that of the BPF object, of NumPy's type and of the header that C includes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from forwarder.metadata import HASH, INCLUDE, RX_METADATA, TIMESTAMP, VLAN, place
from xdp.pyxdp.btf import Btf


def test_layout_is_that_of_the_object(tmp_path: Path) -> None:
    path = tmp_path / "redirect_meta.bpf.o"
    path.write_bytes((files("xdp") / "objects" / "redirect_meta.bpf.o").read_bytes())
    with Btf(path) as btf:
        members = btf.members("rx_metadata")
    kind = np.dtype(RX_METADATA)
    assert kind.fields is not None
    ours = {name: (field[1], field[0].itemsize) for name, field in kind.fields.items()}
    assert {name: (member.offset, member.size) for name, member in members.items()} == ours
    assert (place("arrived"), place("valid")) == (-kind.itemsize, -4)
    assert kind.itemsize % 4 == 0  # bpf_xdp_adjust_meta takes whole words
    assert kind.itemsize <= 32  # what every kernel that has it gives room for


def test_bits_are_those_of_the_header() -> None:
    header = (INCLUDE / "xdplab_rx_metadata.h").read_text()
    for name, bit in (("TIMESTAMP", TIMESTAMP), ("HASH", HASH), ("VLAN", VLAN)):
        assert any(
            line.split() == ["#define", f"RX_METADATA_{name}", "(1U", "<<", f"{bit.bit_length() - 1})"]
            for line in header.splitlines()
        ), name
