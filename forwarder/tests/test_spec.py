# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A spec becomes a command line and comes back the same; what cannot be is refused with what to do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cli import parse
from forwarder.process import Descriptors
from forwarder.spec import ForwarderSpec
from xdp.pyxdp.errors import InputError

powers = st.integers(0, 12).map(lambda n: 1 << n)
specs = st.builds(
    ForwarderSpec,
    interface=st.just("dut0"),
    queues=st.lists(st.integers(0, 63), min_size=1, max_size=4, unique=True).map(tuple),
    action=st.sampled_from(["drop", "echo", "respond"]),
    out=st.sampled_from(["", "dut1"]),
    set_src_mac=st.sampled_from(["", "02:00:00:00:00:0a"]),
    respond_ip=st.sampled_from([(), ("10.0.0.1", "fd00::1")]),
    xskmap=st.sampled_from(["", "/sys/fs/bpf/xsks_map"]),
    binding=st.sampled_from(["auto", "copy", "zero-copy"]),
    batch=st.integers(1, 1024),
    rx_size=powers,
    fill_size=powers,
    need_wakeup=st.booleans(),
    check_owners=st.booleans(),
    interval=st.sampled_from([0.0, 0.5, 1.0]),
    no_fill=st.booleans(),
    pause_receive=st.booleans(),
    parent_death_signal=st.booleans(),
    user=st.sampled_from(["", "nobody", "1:2"]),
    json_lines=st.booleans(),
    stats_socket=st.sampled_from(["auto", "none", "./statistics"]),
    priority=st.sampled_from(["", "fifo:1", "nice:-20", "nice:0"]),
    lock_memory=st.sampled_from(["none", "all", "on-fault"]),
)


@given(specs)
def test_argv_gives_the_same_spec_back(spec: ForwarderSpec) -> None:
    assert parse(spec.to_argv()) == (spec, Descriptors())


# What names the function of one action is no option of the other.
FUNCTIONS = {
    "python": {"python": "m:f", "metadata": True, "verdict": "", "verdict_context": ""},
    "verdict": {"python": "", "metadata": False, "verdict": "./libmine.so:f", "verdict_context": "64"},
}


@pytest.mark.parametrize("action", FUNCTIONS)
def test_every_field_can_be_given_on_the_command_line(action: str) -> None:
    changed: dict[str, Any] = {
        "action": action,
        **FUNCTIONS[action],
        "binding": "copy",
        "cpus": (1,),
        "frame_size": 4096,
        "frames": 1 << 14,
        "lock_memory": "all",
        "mirror": "dut2",
        "pcapng": "all.pcapng",
        "pcapng_snap": 96,
        "need_wakeup": False,
        "out": "dut1",
        "out_xskmap": "/pin1",
        "priority": "nice:-10",
        "queues": (3,),
        "respond_ip": ("10.0.0.1",),
        "respond_mac": "02:00:00:00:00:01",
        "set_dst_mac": "02:00:00:00:00:02",
        "set_src_mac": "02:00:00:00:00:03",
        "stats_socket": "/run/statistics",
        "user": "nobody",
        "xskmap": "/pin",
    }
    # keep_privileges forbids a user, out forbids further interfaces, both_ways a TAP
    alone = {"interface", "keep_privileges", "also", "also_xskmap", "host_tap", "also_host_tap"}
    for field in dataclasses.fields(ForwarderSpec):
        if field.name not in changed and field.name not in alone:
            value: Any = field.default
            changed[field.name] = True if value is False else value * 2 if value else 1
    spec = ForwarderSpec("dut0", **changed)
    defaults = dataclasses.asdict(ForwarderSpec("dut0"))
    same = [name for name, value in dataclasses.asdict(spec).items() if value == defaults[name]]
    assert set(same) == alone | {name for name, value in FUNCTIONS[action].items() if not value}
    assert parse(spec.to_argv())[0] == spec
    keeping = ForwarderSpec("dut0", keep_privileges=True, host_tap="tap0")
    assert parse(keeping.to_argv())[0] == keeping
    several = ForwarderSpec("a", also=("b", "c"), host_tap="t", also_host_tap=("u", "v"))
    assert parse(several.to_argv())[0] == several
    assert [part.host_tap for part in several.each_interface()] == ["t", "u", "v"]


def test_descriptors_ride_beside_the_spec() -> None:
    argv = ForwarderSpec("dut0").to_argv(xskmap_fd=3, ready_fd=4, report_fd=5, counters_fd=6, out_xskmap_fd=7)
    also = ForwarderSpec("dut0", also=("a", "b"))
    assert parse(also.to_argv(also_xskmap_fds=(8, 9))) == (also, Descriptors(also_xskmaps=(8, 9)))
    assert parse(argv)[1] == Descriptors(xskmap=3, ready=4, report=5, counters=6, out_xskmap=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interface": ""}, "name the interface"),
        ({"interface": "a" * 16}, "at most 15 characters"),
        ({"queues": ()}, "name each queue once"),
        ({"queues": (1, 1)}, "name each queue once"),
        ({"queues": (-1,)}, "queues count from 0"),
        ({"cpus": (0, 1)}, "one CPU for each"),
        ({"action": "eat"}, "choose one of drop"),
        ({"action": "forward"}, "needs --out"),
        ({"action": "host"}, "needs --host-tap"),
        ({"pcapng_marked": True, "pcapng": "f"}, "needs --pcapng, and a function"),
        ({"pcapng": "f", "pcapng_snap": 0}, "choose 1 to 65535"),
        ({"mirror": "dut1", "frames": 2048}, "give more than 2048 --frames"),
        ({"mirror": "dut2", "out": "dut1", "both_ways": True}, "give more than 4096 --frames"),
        ({"host_tap": "tap0", "out": "dut1", "both_ways": True}, "stands for one interface"),
        ({"mirror": "dut0"}, "an interface of their own"),
        ({"mirror": "dut1", "out": "dut1"}, "an interface of their own"),
        ({"mirror": "dut1", "mirror_marked": True}, "needs --mirror, and a function"),
        ({"mirror_marked": True, "action": "python", "python": "m:f"}, "needs --mirror"),
        ({"action": "host", "host_tap": "a" * 16}, "at most 15 characters"),
        ({"action": "python"}, "belong together"),
        ({"python": "m:f"}, "belong together"),
        ({"action": "python", "python": "m"}, "MODULE:FUNCTION"),
        ({"set_src_mac": "02:00"}, "--set-src-mac 02:00"),
        ({"respond_ip": ("300.1.1.1",)}, "IPv4 or IPv6 address"),
        ({"respond_ip": tuple(f"10.0.0.{n}" for n in range(9))}, "at most 8"),
        ({"binding": "magic"}, "choose one of auto"),
        ({"metadata": True}, "--metadata is for --python"),
        ({"also": ("dut0",)}, "name each further interface once"),
        ({"also": ("dut1",), "out": "dut2"}, "--out with --also: .* one completion ring .* queue of dut2"),
        ({"also": ("dut1",), "mirror": "dut2"}, "--mirror with --also: .* one completion ring"),
        ({"also": ("a", "b"), "host_tap": "t"}, "a TAP stands for one interface; .* each of 2"),
        ({"also": ("dut1",), "also_host_tap": ("t",)}, "without it none"),
        ({"also": ("dut1",), "host_tap": "t", "also_host_tap": ("t",)}, "name each TAP once"),
        ({"also": ("dut1",), "host_tap": "t", "also_host_tap": ("x" * 16,)}, "at most 15 characters"),
        ({"also": ("dut1",), "also_xskmap": ("/a", "/b")}, "one map for each of 1"),
        ({"also": ("dut1",), "cpus": (0,)}, "one CPU for each of 2"),
        ({"both_ways": True}, "--both-ways needs --out"),
        ({"out": "dut0"}, "it is the interface itself"),
        ({"out_xskmap": "/pin", "out": "dut1"}, "--out-xskmap needs --both-ways"),
        ({"multi_buffer": True, "batch": 17}, "18 descriptors"),
        ({"tx_budget": 4096}, "--tx-budget 4096: choose 0 to 2048"),
        ({"busy_poll_budget": -1}, "--busy-poll-budget -1"),
        ({"frame_size": 3000}, "or add --unaligned"),
        ({"batch": 0}, "choose 1 to 1024"),
        ({"batch": 1025}, "choose 1 to 1024"),
        ({"rx_size": 1000}, "--rx-size 1000: choose a power of two"),
        ({"completion_size": 0}, "--completion-size 0"),
        ({"frame_size": 3000}, "power of two"),
        ({"frames": 0}, "--frames 0"),
        ({"headroom": 2048}, "less than the frame size"),
        ({"user": "nobody", "keep_privileges": True}, "choose one"),
        ({"user": ":"}, "write NAME or NAME:GROUP"),
        ({"user": "a:b:c"}, "write NAME or NAME:GROUP"),
        ({"priority": "high"}, "--priority high: write fifo:1 to fifo:99"),
        ({"priority": "fifo:0"}, "--priority fifo:0: write fifo:1 to fifo:99"),
        ({"priority": "fifo:100"}, "write fifo:1 to fifo:99"),
        ({"priority": "nice:-21"}, "nice:-20 to nice:19"),
        ({"lock_memory": "some"}, "choose one of none, all, on-fault"),
        ({"stats_socket": "here"}, "give auto, none, or a path with a /"),
        ({"interval": -1.0}, "--interval -1.0: give seconds, 0 or more"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ForwarderSpec(**{"interface": "dut0", **changes})
