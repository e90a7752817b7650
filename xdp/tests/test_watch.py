# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout of the watch's counts is the header's; a watch that cannot be is refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from xdp import watch_names
from xdp.pyxdp.btf import Btf, Member
from xdp.pyxdp.errors import InputError
from xdp.watch import COUNT, DROPS, NAMESPACES, XDP, EventRecord, Watch
from xdp.watch_events import ACTIONS, KINDS


@pytest.fixture
def btf(tmp_path: Path) -> Iterator[Btf]:
    path = tmp_path / "watch.bpf.o"
    path.write_bytes((resources.files("xdp") / "objects" / path.name).read_bytes())
    with Btf(path) as found:
        yield found


def test_an_event_has_the_members_of_the_header_at_their_offsets(btf: Btf) -> None:
    fields = [field[0] for field in EventRecord._fields_]
    own = {
        name: Member(getattr(EventRecord, name).offset, getattr(EventRecord, name).size) for name in fields
    }
    assert list(btf.members("watch_event").items()) == list(own.items())


def test_a_count_is_read_as_the_header_lays_it_out(btf: Btf) -> None:
    members = btf.members("watch_count")
    assert [(name, one.offset, one.size) for name, one in members.items()] == [
        ("frames", 0, 8),
        ("device", 8, 16),
    ]
    assert COUNT.size == 24
    assert btf.variables(".rodata")["namespaces"].size == 4 * NAMESPACES


def test_the_kinds_are_those_of_the_header(btf: Btf) -> None:
    numbers = btf.enumerators("watch_kind")
    assert {name.removeprefix("WATCH_").lower(): value for name, value in numbers.items()} == {
        kind: number for number, kind in enumerate(KINDS)
    }
    assert set(DROPS) | set(XDP) == set(KINDS)
    assert set(watch_names.TRACEPOINTS) == {f"watch_{kind}" for kind in KINDS}


@pytest.mark.parametrize("count", [0, NAMESPACES + 1])
def test_a_watch_needs_one_to_eight_namespaces_or_all(count: int) -> None:
    with pytest.raises(InputError, match="1 to 8 namespaces"):
        Watch({f"n{i}": 4026531840 + i for i in range(count)}, DROPS)


def test_without_root_it_says_so() -> None:
    """In a user namespace of its own a process may load nothing, whoever runs the tests."""
    code = (
        "from xdp.watch import DROPS, Watch\n"
        "from xdp.pyxdp.errors import InputError\n"
        "try: Watch({'dut': 1}, DROPS)\n"
        "except InputError as error: print(error)"
    )
    # Not another user: the checkout may lie in a folder that only its owner may enter.
    without_root = [] if os.geteuid() else ["unshare", "--user"]
    done = subprocess.run(
        [*without_root, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "watching what the kernel drops needs root: run it with sudo", done.stderr


@pytest.mark.system
def test_the_running_kernel_names_its_reasons_and_actions() -> None:
    prototypes, reasons = watch_names.of_kernel()
    assert prototypes["watch_skb"][0] == "sk_buff"
    assert {"NO_SOCKET", "OTHERHOST", "UDP_CSUM", "IP_CSUM", "IP_RPFILTER"} <= set(reasons.values())
    with Btf() as kernel:
        actions = kernel.enumerators("xdp_action")
    assert [name for name, _ in sorted(actions.items(), key=lambda item: item[1])] == list(ACTIONS)


@pytest.mark.system
@pytest.mark.parametrize("kinds", [DROPS, XDP, KINDS])
def test_the_running_kernel_has_all_tracepoints_as_known_here(kinds: tuple[str, ...]) -> None:
    with Watch(None, kinds) as watch:
        assert watch.absent == ()
