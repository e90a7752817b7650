# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout that Python believes in is the one that the tester's programs were compiled with."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from labs.harness.traffic import layout
from xdp.pyxdp.btf import Btf, Member

SEND, SINK = "tester_send", "tester_sink"


@pytest.fixture
def btf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Btf]]:
    found = {}
    for name in (SEND, SINK):
        path = tmp_path / f"{name}.bpf.o"
        path.write_bytes((resources.files("xdp") / "objects" / path.name).read_bytes())
        found[name] = Btf(path)
    yield found
    for one in found.values():
        one.close()


@pytest.mark.parametrize(
    ("where", "name", "struct"),
    [
        (SEND, "tester_field", layout.Field),
        (SEND, "tester_template", layout.Template),
        (SEND, "tester_flow", layout.Flow),
        (SEND, "tester_send_state", layout.SendState),
        (SINK, "tester_gap", layout.Gap),
        (SINK, "tester_stream", layout.Stream),
        (SINK, "tester_event", layout.Event),
        (SINK, "tester_sink_state", layout.SinkState),
    ],
)
def test_a_struct_has_the_members_of_the_header_at_their_offsets(
    btf: dict[str, Btf], where: str, name: str, struct: type[ctypes.Structure]
) -> None:
    fields = [field[0] for field in struct._fields_]
    mirrored = {field: Member(getattr(struct, field).offset, getattr(struct, field).size) for field in fields}
    assert list(btf[where].members(name).items()) == list(mirrored.items())


@pytest.mark.parametrize(
    ("where", "name", "prefix", "numbers"),
    [
        (SEND, "tester_done", "TESTER_", layout.Done),
        (SINK, "sink_action", "SINK_", layout.Action),
        (SINK, "tester_event_kind", "TESTER_", layout.EventKind),
    ],
)
def test_an_enum_has_the_names_and_numbers_of_the_source(
    btf: dict[str, Btf], where: str, name: str, prefix: str, numbers: type[layout.Done]
) -> None:
    found = {key.removeprefix(prefix): value for key, value in btf[where].enumerators(name).items()}
    assert found == {one.name: one.value for one in numbers}


def test_the_constants_are_those_of_the_header() -> None:
    header = Path(layout.__file__).parents[3] / "xdp" / "src" / "tester.h"
    if not header.exists():
        pytest.skip("installed without sources")
    defined = dict(re.findall(r"#define TESTER_(\w+)\s+(\w+)", header.read_text()))
    for name, value in defined.items():
        assert getattr(layout, name) == int(value.removesuffix("ULL"), 0), name
    assert {"FRAME_BYTES", "BUCKETS", "K_TIME"} <= set(defined)
