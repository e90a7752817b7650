# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The structs that the tester's BPF programs and Python have in common: a mirror of xdp/src/tester.h."""

from __future__ import annotations

import enum
from ctypes import LittleEndianStructure, c_uint8, c_uint16, c_uint32, c_uint64

FRAME_BYTES = 3008
FIELDS = 4
BUCKETS = 1024
SUB_BITS = 5
GAPS = 256
EVENTS = 1024
OWN_TIME = 1

K_SUM = 0x9E3779B97F4A7C15
K_ORDER = 0xBF58476D1CE4E5B8
K_LENGTH = 0x94D049BB133111EB
K_IDENTITY = 0xD6E8FEB86659FD93
K_TIME = 0xFF51AFD7ED558CCD


class Done(enum.IntEnum):
    """Why the sender ended (enum tester_done)."""

    RUNNING = 0
    COUNT_REACHED = 1
    TIME_OVER = 2
    STOPPED = 3
    NO_DEVICE = 4
    BROKEN = 5


class Action(enum.IntEnum):
    """What the sink does with a frame that it has looked at (enum sink_action)."""

    DROP = 0
    PASS = 1
    RETURN = 2


class EventKind(enum.IntEnum):
    """Why a frame is named (enum tester_event_kind)."""

    NO_EVENT = 0
    DUPLICATE = 1
    REORDERED = 2
    CORRUPT = 3
    WRONG_FLOW = 4


class InSum(enum.IntFlag):
    """Which checksums cover a varied field (enum tester_field_flags)."""

    L4 = 1
    IP = 2


class Stamp(LittleEndianStructure):
    """struct tester_stamp."""

    _pack_ = 1
    _fields_ = (
        ("magic", c_uint16),
        ("flow", c_uint16),
        ("sequence", c_uint32),
        ("sent_low", c_uint32),
        ("sent_high", c_uint16),
        ("check", c_uint32),
    )


class Field(LittleEndianStructure):
    """struct tester_field."""

    _fields_ = (("offset", c_uint16), ("size", c_uint8), ("flags", c_uint8))


class Template(LittleEndianStructure):
    """struct tester_template."""

    _fields_ = (
        ("gap", c_uint64),
        ("payload_digest", c_uint64),
        ("l4_base", c_uint32),
        ("ip_base", c_uint32),
        ("length", c_uint16),
        ("stamp_offset", c_uint16),
        ("l4_sum_offset", c_uint16),
        ("ip_sum_offset", c_uint16),
        ("fields", Field * FIELDS),
        ("is_udp", c_uint8),
        ("pad", c_uint8 * 7),
        ("frame", c_uint8 * FRAME_BYTES),
    )


class Flow(LittleEndianStructure):
    """struct tester_flow."""

    _fields_ = (("value", c_uint32 * FIELDS),)


class SendState(LittleEndianStructure):
    """struct tester_send_state."""

    _fields_ = (
        ("sent", c_uint64),
        ("bytes", c_uint64),
        ("calls", c_uint64),
        ("first_ns", c_uint64),
        ("last_ns", c_uint64),
        ("due", c_uint64),
        ("last_gap", c_uint64),
        ("late_ns", c_uint64),
        ("given_up_ns", c_uint64),
        ("in_burst", c_uint32),
        ("template_index", c_uint32),
        ("flow", c_uint32),
        ("stop", c_uint32),
        ("done", c_uint32),
        ("pad", c_uint32),
    )


class Gap(LittleEndianStructure):
    """struct tester_gap."""

    _fields_ = (("first", c_uint32), ("end", c_uint32), ("arrival", c_uint64))


class Stream(LittleEndianStructure):
    """struct tester_stream."""

    _fields_ = (
        ("received", c_uint64),
        ("bytes", c_uint64),
        ("next_expected", c_uint64),
        ("first_ns", c_uint64),
        ("last_ns", c_uint64),
        ("latency_min_ns", c_uint64),
        ("latency_max_ns", c_uint64),
        ("latency_sum_ns", c_uint64),
        ("duplicates", c_uint64),
        ("corrupt", c_uint64),
        ("wrong_flow", c_uint64),
        ("reordered", c_uint64),
        ("extent_max", c_uint64),
        ("extent_sum", c_uint64),
        ("extent_unknown", c_uint64),
        ("beyond", c_uint64),
        ("gap_count", c_uint64),
        ("pad", c_uint64 * 7),
        ("gaps", Gap * GAPS),
        ("latencies", c_uint64 * BUCKETS),
    )


class Event(LittleEndianStructure):
    """struct tester_event."""

    _fields_ = (
        ("time_ns", c_uint64),
        ("extent", c_uint64),
        ("sequence", c_uint32),
        ("flow", c_uint16),
        ("queue", c_uint16),
        ("kind", c_uint32),
        ("length", c_uint32),
    )


class SinkState(LittleEndianStructure):
    """struct tester_sink_state."""

    _fields_ = (("events", c_uint64), ("foreign", c_uint64))
