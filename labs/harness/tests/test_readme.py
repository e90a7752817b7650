# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The README is true: its test runs, its function decides, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from forwarder.trial import as_batch, as_bytes, ask
from forwarder.verdict import BACK, DROP, FORWARD
from labs.harness.cli import COMMANDS
from xdp.compiler import compile_bpf

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
FILTER = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");
SEC("xdp") int my_filter(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}
char _license[] SEC("license") = "GPL";
"""


def block(first_line: str) -> str:
    """The code block that begins with this line."""
    found = re.search(rf"```python\n{re.escape(first_line)}\n(.*?)```", README, re.DOTALL)
    assert found, first_line
    return found[1]


def test_every_subcommand_in_it_exists() -> None:
    named = set(re.findall(r"(?:^|`)xdplab ([a-z]+)\b", README, re.MULTILINE))
    assert named - set(COMMANDS) == set()
    assert set(COMMANDS) - {"bench"} <= named  # `make bench` stands for it


def test_every_make_target_in_it_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_it_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_its_function_decides_by_length() -> None:
    scope: dict[str, object] = {}
    exec(block("# mymodule.py"), scope)  # noqa: S102 (our own documentation is what is tested)
    packets = np.zeros(3, dtype=[("addr", "u8"), ("len", "u4"), ("options", "u4")])
    packets["len"] = [60, 64, 1500]
    decide = scope["decide"]
    assert callable(decide)
    assert list(decide(packets, None)) == [0, 1, 1]


def test_its_filter_sends_dns_to_the_other_resolver() -> None:
    scope: dict[str, Any] = {}
    exec(block("# myfilter.py"), scope)  # noqa: S102 (as above)
    query, other = (Ether() / IP(dst="10.0.0.1") / UDP(dport=port) / b"?" for port in (53, 54))
    packets, frames = as_batch([bytes(query), bytes(other)])
    assert list(scope["decide"](packets, frames)) == [FORWARD, DROP]
    sent = Ether(as_bytes(packets, frames)[0])
    assert sent[IP].dst == "9.9.9.9"
    expected = Ether() / IP(dst="9.9.9.9") / UDP(dport=53) / b"?"
    assert bytes(sent[IP]) == bytes(expected[IP])


def test_its_verdict_function_swaps_the_addresses(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec(block("# myverdict.py"), scope)  # noqa: S102 (as above)
    assert ask(scope["decide"], bytes(63)) == (DROP, bytes(63))
    assert ask(scope["decide"], bytes(range(64))) == (BACK, bytes([*range(6, 12), *range(6), *range(12, 64)]))


@pytest.mark.system
@pytest.mark.parametrize("name", ["test_mine.py", "test_many.py"])
def test_its_tests_pass(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(block(f"# {name}"))
    (tmp_path / "my_filter.bpf.c").write_text(FILTER)
    compile_bpf(tmp_path / "my_filter.bpf.c")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        name,
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout
