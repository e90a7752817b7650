# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Rates are what moved between two readings; the table shows them, and every fault by name."""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from forwarder import _batch, snapshot, table
from xdp.pyxdp.xsk import STATISTICS

SCHEMA = json.loads((Path(snapshot.__file__).with_name("lines.schema.json")).read_text())


def reading(seconds: float, *queues: dict[str, int], interface: str = "dut0") -> dict[str, Any]:
    """A snapshot at a time, with these counters a queue; names of XDP_STATISTICS go to its socket."""
    return {
        "type": "snapshot",
        "schema": 1,
        "pid": 7,
        "time": 1e9,
        "monotonic_ns": int(seconds * 1e9),
        "uptime_s": seconds,
        "interface": interface,
        "out": "",
        "action": "echo",
        "queues": [
            {
                "interface": interface,
                "queue": number,
                "counters": {name: counts.get(name, 0) for name in _batch.COUNTERS},
                "sockets": [
                    {
                        "interface": interface,
                        "queue": number,
                        "mode": "copy",
                        "rings": {"rx": 1, "tx": 2, "fill": 3, "completion": 4},
                        "xdp_statistics": {name: counts.get(name, 0) for name in STATISTICS},
                    }
                ],
            }
            for number, counts in enumerate(queues)
        ],
    }


def shown(interval: dict[str, Any]) -> str:
    """The table as a terminal of 80 columns shows it."""
    console = Console(file=io.StringIO(), width=80)
    console.print(table.table(interval))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert max(map(len, text.splitlines())) <= 80
    return str(text)


BEFORE = reading(10, {"rx_packets": 100, "rx_bytes": 6000}, {"rx_packets": 5})
AFTER = reading(
    12,
    {
        "rx_packets": 1100,
        "rx_bytes": 66000,
        "tx_packets": 640,
        "tx_bytes": 38400,
        "tx_kicks": 20,
        "fill_kicks": 10,
        "dropped": 100,
        "not_matched": 200,
        "tx_ring_full": 40,
        "callback_failed": 20,
    },
    {"rx_packets": 5, "rx_dropped": 30, "rx_ring_full": 10, "rx_fill_ring_empty_descs": 30},
)


def test_rates_are_what_moved_a_second() -> None:
    interval = snapshot.interval(BEFORE, AFTER)
    assert interval["interval_s"] == 2.0
    assert interval["queues"][0]["rates"] == {
        "rx_pps": 500.0,
        "rx_bps": 240000.0,
        "tx_pps": 320.0,
        "tx_bps": 153600.0,
        "dropped_pps": 180.0,
        "lost_pps": 0.0,
        "kicks_per_s": 15.0,
        "packets_per_kick": 32.0,
    }
    quiet = interval["queues"][1]["rates"]
    assert quiet["packets_per_kick"] is None
    assert quiet["rx_pps"] == 0
    # A packet without a frame is counted as dropped and as a look into an empty fill ring: lost once.
    assert quiet["lost_pps"] == 20.0
    assert interval["total"] == {**interval["queues"][0]["rates"], "lost_pps": 20.0}
    assert interval["queues"][0]["counters"] == AFTER["queues"][0]["counters"], "totals stay beside the rates"


def test_both_forms_fit_the_schema_and_a_wrong_one_does_not() -> None:
    interval = snapshot.interval(BEFORE, AFTER)
    for message in (BEFORE, AFTER, interval):
        jsonschema.validate(message, SCHEMA)
    for wrong in ({**interval, "type": "snapshot"}, {**BEFORE, "schema": 2}, {**BEFORE, "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_a_table_has_a_line_a_socket_a_sum_and_the_faults() -> None:
    lines = shown(snapshot.interval(BEFORE, AFTER)).splitlines()
    assert lines[0] == "pid 7: echo on dut0, copy mode, up 12.0 s"
    assert lines[3].split() == [
        "dut0",
        "0",
        "500",
        "240k",
        "320",
        "180",
        "0",
        "15",
        "32.0",
        "1",
        "2",
        "3",
        "4",
    ]
    assert lines[4].split() == ["dut0", "1", "0", "0", "0", "0", "20", "0", "-", "1", "2", "3", "4"]
    assert lines[6].split()[:2] == ["all", "500"]
    assert [line.rstrip() for line in lines[-2:]] == [
        "since the start: tx_ring_full 40, callback_failed 20, rx_dropped 30,",
        "rx_ring_full 10, rx_fill_ring_empty_descs 30",
    ]


ORDINARY = {
    *("rx_packets", "rx_descriptors", "rx_bytes", "rx_batches", "dropped", "not_matched"),
    *("host_packets", "host_bytes", "tx_packets", "tx_descriptors", "tx_bytes", "tx_completed"),
    *("tx_kicks", "tx_eagain", "mirror_packets", "mirror_bytes", "mirror_completed"),
    *("captured", "capture_wakes"),
    *("fill_produced", "fill_kicks", "fill_eagain", "busy_polls"),
    *("poll_calls", "poll_wakeups", "poll_timeouts", "poll_interrupted"),
    *("syscalls", "iterations", "idle", "callbacks"),
    *("answered_arp", "answered_icmp", "answered_icmpv6", "answered_neighbour", "answered_udp"),
}


def test_each_counter_is_a_fault_or_ordinary() -> None:
    assert set(_batch.COUNTERS) - ORDINARY == set(table.FAULTS), "say of a new counter which it is"
    assert not ORDINARY & set(table.FAULTS)
    assert set(snapshot.DROPS) <= set(_batch.COUNTERS)
    assert set(snapshot.KICKS) <= set(_batch.COUNTERS)
    assert set(snapshot.LOSSES) <= set(STATISTICS)


def test_what_comes_in_goes_somewhere() -> None:
    """The rule of csrc/counters.h: who adds a fate adds it to DROPS, or here."""
    header = (Path(snapshot.__file__).parent / "csrc" / "counters.h").read_text()
    rule = header[header.index("rx_packets = ") : header.index("tx_packets = ")]
    fates = set(re.findall(r"[a-z][a-z_]+", rule)) - {"rx_packets"}
    assert fates == {*snapshot.DROPS, "tx_packets", "host_packets"}


def test_an_idle_forwarder_has_no_errors_and_no_sum() -> None:
    one = reading(1, {"tx_ring_empty_descs": 5})
    text = shown(snapshot.interval(one, copy.deepcopy(one)))
    assert "no errors" in text
    assert "all" not in text


def test_long_names_and_large_figures_fit_into_80_columns() -> None:
    most = dict.fromkeys((*_batch.COUNTERS, *STATISTICS), 2**40)
    before = reading(1, {}, interface="enp65s0f0np0")
    shown(snapshot.interval(before, reading(2, most, interface="enp65s0f0np0")))


def test_what_another_process_says_cannot_steer_the_terminal() -> None:
    evil = reading(1, {}, interface="\x1b[2J[bold]x")
    text = shown(snapshot.interval(evil, evil))
    assert "\x1b" not in text
    assert "[bold]x" in text, "nor is it markup"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999.4, "999"),
        (999.5, "1.00k"),
        (1000, "1.00k"),
        (9996, "10.0k"),
        (99960, "100k"),
        (123456, "123k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (3.45e6, "3.45M"),
        (25e9, "25.0G"),
    ],
)
def test_short_numbers_have_at_most_five_characters(value: float, text: str) -> None:
    assert table.short(value) == text
    assert len(text) <= 5
