# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The layout of the drop counters is the header's; a watch that cannot be is refused in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from xdp import tracepoints
from xdp.pyxdp.btf import Btf
from xdp.pyxdp.errors import InputError
from xdp.tracepoints import ACTIONS, KEY, KINDS, NAMESPACES, VALUE, DropWatch


@pytest.fixture
def btf(tmp_path: Path) -> Iterator[Btf]:
    path = tmp_path / "drop_watch.bpf.o"
    path.write_bytes((resources.files("xdp") / "objects" / path.name).read_bytes())
    with Btf(path) as found:
        yield found


def test_keys_and_values_are_read_as_the_header_lays_them_out(btf: Btf) -> None:
    key, value = btf.members("drop_key"), btf.members("drop_value")
    places = {name: (one.offset, one.size) for name, one in key.items()}
    assert places == {
        "location": (0, 8),
        "netns": (8, 4),
        "ifindex": (12, 4),
        "reason": (16, 4),
        "kind": (20, 4),
    }
    assert KEY.size == 24
    assert [(name, one.offset, one.size) for name, one in value.items()] == [
        ("frames", 0, 8),
        ("device", 8, 16),
    ]
    assert VALUE.size == 24
    assert btf.variables(".rodata")["namespaces"].size == 4 * NAMESPACES


def test_the_kinds_are_numbered_as_in_the_header(btf: Btf) -> None:
    assert list(btf.enumerators("drop_kind").values()) == list(range(len(KINDS)))
    assert list(btf.enumerators("drop_kind")) == [
        "DROP_SKB",
        "DROP_XDP_EXCEPTION",
        "DROP_REDIRECT_ERR",
        "DROP_DEVMAP_XMIT",
    ]


@pytest.mark.parametrize("count", [0, NAMESPACES + 1])
def test_a_watch_needs_one_to_eight_namespaces(count: int) -> None:
    with pytest.raises(InputError, match="1 to 8 namespaces"):
        DropWatch({f"n{i}": 4026531840 + i for i in range(count)})


def test_without_root_it_says_so() -> None:
    """In a user namespace of its own a process may load nothing, whoever runs the tests."""
    code = (
        "from xdp.tracepoints import DropWatch\n"
        "from xdp.pyxdp.errors import InputError\n"
        "import os\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: DropWatch({'dut': 1})\n"
        "except InputError as error: print(error)"
    )
    # The interpreter must have imported before it lets its rights go: the folder may be root's.
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "watching what the kernel drops needs root: run it with sudo", done.stderr


@pytest.mark.lab
def test_the_running_kernel_names_its_reasons_and_actions() -> None:
    prototypes, reasons = tracepoints._of_kernel()
    assert prototypes["watch_kfree_skb"][0] == "sk_buff"
    assert {"NO_SOCKET", "OTHERHOST", "UDP_CSUM", "IP_CSUM", "IP_RPFILTER"} <= set(reasons.values())
    with Btf() as kernel:
        actions = kernel.enumerators("xdp_action")
    assert [name for name, _ in sorted(actions.items(), key=lambda item: item[1])] == list(ACTIONS)
