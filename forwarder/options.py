# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The fields of `ForwarderSpec` as options of the command line and keys of a configuration file, named once.

A new field needs one line in `GROUPS`; its type and default are the spec's own.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from .spec import ACTIONS, BINDINGS, LOCKS, ForwarderSpec

FIELDS = ForwarderSpec.__dataclass_fields__
KINDS = ("str", "int", "float", "bool", "tuple[int, ...]", "tuple[str, ...]")


class Option(NamedTuple):
    """One field of the spec as people give it.

    Attributes:
        field: its name in `ForwarderSpec`.
        help: what it does; the default is added where it is a number.
        metavar: what stands for the value in the help.
        name: the long option without dashes, also the key in a file; "" for the field's name with dashes.
        short: a short option, "" for none.
        choices: the values that can be, none for any.
    """

    field: str
    help: str
    metavar: str = ""
    name: str = ""
    short: str = ""
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name on the command line (behind --) and in a file."""
        return self.name or self.field.replace("_", "-")

    @property
    def kind(self) -> str:
        """The annotation of the field: one of `KINDS`."""
        return str(FIELDS[self.field].type)


GROUPS: dict[str, tuple[Option, ...]] = {
    "what to do": (
        Option("interface", "receive on this interface", "IF", short="-i"),
        Option("also", "receive on these interfaces too, threads of their own", "IF[,IF]"),
        Option("queues", "its queues, a thread each (default 0)", "N[,N]", name="queue", short="-q"),
        Option("action", "one of those above (default drop)", "ACTION", choices=ACTIONS),
        Option("python", "the function; makes the action python", "MODULE:FUNCTION"),
        Option(
            "metadata", "the function also gets hash, time stamp, VLAN of each packet (program redirect_meta)"
        ),
        Option("verdict", "MODULE:NAME or PATH.so:SYMBOL; makes the action verdict", "WHERE:NAME"),
        Option(
            "verdict_context",
            "its context, one a queue: a number of zeroed bytes, or MODULE:FUNCTION that gives a buffer",
            "WHAT",
        ),
        Option("out", "the other interface", "IF"),
        Option(
            "both_ways", "receive on --out too: with --action forward a two-port bridge that learns nothing"
        ),
        Option("host_tap", "make this TAP, through which packets reach the host's own stack", "NAME"),
        Option("also_host_tap", "the TAPs that stand for --also, in order", "NAME[,NAME]"),
        Option("mirror", "send a copy of each packet out of this interface besides", "IF"),
        Option("mirror_marked", "copy only what the function marked (verdict | 0x80), as it left it"),
        Option("pcapng", "write each packet, as it was received, to this pcapng file", "FILE"),
        Option("pcapng_snap", "bytes of each packet that are written", "N"),
        Option("pcapng_marked", "write only what the function marked (verdict | 0x40), as it left it"),
        Option("set_src_mac", "forward: write this source address", "MAC"),
        Option("set_dst_mac", "forward: write this destination address", "MAC"),
        Option("respond_mac", "respond: as this address (default the interface's)", "MAC"),
        Option("respond_ip", "respond: for these addresses (default the interface's)", "IP[,IP]"),
    ),
    "where packets come from": (
        Option("xskmap", "enter this pinned XSKMAP", "PIN"),
        Option("also_xskmap", "the XSKMAPs of the programs on --also, in order", "PIN[,PIN]"),
        Option("out_xskmap", "for --both-ways: the XSKMAP of the program on --out", "PIN"),
        Option("binding", "how the socket gets packets (default auto: the best granted)", choices=BINDINGS),
    ),
    "memory and rings": (
        Option("batch", "most packets moved at once", "N"),
        Option("frames", "frames of each queue's UMEM", "N"),
        Option("frame_size", "bytes a frame: 2048 or 4096, or all between with --unaligned", "N"),
        Option("unaligned", "frames of any size, anywhere in the UMEM (unaligned chunks)"),
        Option("shared_umem", "one UMEM for all queues, not one for each"),
        Option("multi_buffer", "packets larger than a frame, up to 9000 bytes and more (needs xdp.frags)"),
        Option("headroom", "free bytes in front of each packet, beyond XDP's 256", "N"),
        Option("rx_size", "entries of the RX ring", "N"),
        Option("tx_size", "entries of the TX ring", "N"),
        Option("fill_size", "entries of the fill ring", "N"),
        Option("completion_size", "entries of the completion ring", "N"),
        Option("need_wakeup", "wake the kernel always, not only when it asks"),
        Option("tx_budget", "descriptors one sendto() may send (default 0: what the TX ring holds)", "N"),
        Option("hugepages", "UMEM on 2 MiB pages (reserve them first)"),
        Option("check_owners", "check each frame's one owner at each step (slower)"),
    ),
    "busy polling": (
        Option("busy_poll", "let the kernel receive in the queue's thread, not by interrupts"),
        Option("busy_poll_usecs", "how long one call may poll, in microseconds", "N"),
        Option("busy_poll_budget", "most packets that one call receives", "N"),
        Option(
            "defer_irqs", "napi_defer_hard_irqs of the interfaces while we run, restored; 0: untouched", "N"
        ),
        Option("flush_timeout", "gro_flush_timeout of the interfaces while we run, restored", "NS"),
    ),
    "the process": (
        Option("cpus", "pin each queue's thread, in order", "N[,N]", name="cpu"),
        Option(
            "priority",
            "of the queues' threads: nice:-20 to nice:19, or fifo:1 to fifo:99 for real time, best with "
            "--cpu, as nobody else runs there while packets come",
            "P",
        ),
        Option(
            "lock_memory",
            "keep in memory, beside the UMEM: all, or each page from its first use (default none)",
            choices=LOCKS,
        ),
        Option("user", "become this user once all is bound", "NAME[:GROUP]"),
        Option("keep_privileges", "keep all capabilities; without it none is kept"),
    ),
    "running and reporting": (
        Option("interval", "seconds between two reports; 0 for none", "S"),
        Option("plain", "lines on a terminal too, where a table would be drawn"),
        Option("json_lines", "print JSON, an object a line: ready, interval …, report"),
        Option(
            "stats_socket",
            "where xdplab stats asks: auto (an abstract name, nothing is left behind), none, or a path "
            "(default auto)",
            "WHERE",
        ),
        Option("duration", "end after this time (default: a signal)", "S"),
        Option("parent_death_signal", "be killed when the parent's thread that started us ends"),
    ),
    "faults, for tests": (
        Option("pause_receive", "bind, but never take a packet off the RX ring"),
        Option("no_fill", "bind, but never give the kernel a frame to receive into"),
    ),
}
OPTIONS = {option.key: option for options in GROUPS.values() for option in options}


def add_options(group: argparse._ActionsContainer, options: tuple[Option, ...]) -> None:
    """Adds the options of fields; one that is not given leaves nothing in the namespace."""
    for option in options:
        if option.kind == "bool":
            _add_switch(group, option)
        else:
            _add_value(group, option)


def _add_value(group: argparse._ActionsContainer, option: Option) -> None:
    default = FIELDS[option.field].default
    known: dict[str, Any] = {"help": option.help}
    if option.kind in ("int", "float") and "(default" not in option.help:
        known["help"] += f" (default {default:g})" if option.kind == "float" else f" (default {default})"
    if option.choices:
        known["choices"] = option.choices
    if option.metavar or not option.choices:
        known["metavar"] = option.metavar
    types = {"int": int, "float": float, "tuple[int, ...]": numbers, "tuple[str, ...]": _names}
    if option.kind in types:
        known["type"] = types[option.kind]
    if option.kind.startswith("tuple"):
        known["action"] = "extend"
    names = [option.short] if option.short else []
    group.add_argument(*names, f"--{option.key}", dest=option.field, default=argparse.SUPPRESS, **known)


def _add_switch(group: argparse._ActionsContainer, option: Option) -> None:
    """Shows the switch that changes the default; its opposite is there to overrule a file."""
    default = bool(FIELDS[option.field].default)
    for value in (not default, default):
        group.add_argument(
            f"--{option.key}" if value else f"--no-{option.key}",
            dest=option.field,
            action="store_const",
            const=value,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS if value == default else option.help,
        )


def numbers(text: str) -> list[int]:
    """Of a list as it is written: "0,1"."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, nor a list like 0,1") from None


def _names(text: str) -> list[str]:
    return text.split(",")
