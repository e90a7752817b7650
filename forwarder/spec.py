# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a forwarder is asked to do, as a value: printable, comparable, saved with each result."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

from xdp.pyxdp.errors import InputError

from . import scheduling
from .addresses import ip_bytes, mac_bytes

ACTIONS = ("drop", "echo", "forward", "respond", "host", "python", "verdict")
FUNCTIONS = ("python", "verdict")
BINDINGS = ("auto", "copy", "zero-copy")
LOCKS = ("none", "all", "on-fault")
BATCH_MAX = 1024  # csrc/batch.h
CHAIN_MAX = 18  # MAX_SKB_FRAGS + 1: descriptors of a packet that a socket with XDP_USE_SG may send
RING_MAX = 1 << 20  # far above any use; the kernel's own limit is what it can allocate
SNAP_MAX = 65535  # CAPTURE_SNAP_MAX, csrc/capture.h
CONTEXT_MAX = 1 << 30  # far above any use
NAME_MAX = 15  # IFNAMSIZ - 1


@dataclass(frozen=True)
class ForwarderSpec:
    """One forwarder process: queues of one interface, one action.

    Attributes:
        interface: device to receive on, in the process's network namespace.
        also: further devices to receive on, with the same queues and action; they send back only.
        also_xskmap: the pinned XSKMAPs of the programs on these, in their order; none to enter none.
        also_host_tap: names of TAPs that stand for these, in their order; with `host_tap`, one for each.
        queues: its queues; each gets a thread, a socket and frames of its own.
        action: "drop", "echo", "forward", "respond", "host", "python" or "verdict".
        python: "module:function" for the action "python" (see `forwarder.loop.BatchFunction`).
        metadata: the Python function also gets what the driver knows of each packet; the XDP program must be
            "redirect_meta" (see `forwarder.metadata`).
        verdict: "module:name" or "path.so:symbol" for the action "verdict" (see `forwarder.verdict`).
        verdict_context: what its context points to, one for each queue: a number of bytes, zeroed, or
            "module:function" that is called with the queue's number and gives a writable buffer; "" for none.
        out: device to send out of, for "forward" and for verdict 2 of a function.
        both_ways: receive on `out` too; what comes there is handled alike, and `interface` is its other one.
        host_tap: name of a TAP to make, through which packets reach the host's own stack: for "host" and for
            verdict 4 of a function (see `forwarder.host`).
        mirror: device to send copies of packets out of, beside what becomes of them; "" for none.
        mirror_marked: copy only what a function marked (verdict | 0x80), as it left it; else all is copied as
            it was received.
        pcapng: file to write packets to, beside what becomes of them; "" for none.
        pcapng_snap: bytes of each packet that it keeps.
        pcapng_marked: only what a function marked (verdict | 0x40), as it left it; else all, as received.
        set_src_mac: forward writes this source address; "" leaves it.
        set_dst_mac: forward writes this destination address; "" leaves it.
        respond_mac: who "respond" is; "" for the interface's own.
        respond_ip: addresses that "respond" answers for, IPv4 and IPv6; none for the interface's own.
        xskmap: path of a pinned XSKMAP to enter; "" for none.
        out_xskmap: for both_ways: the pinned XSKMAP of the program on `out`.
        binding: "copy", "zero-copy", or "auto" for the best that the kernel grants.
        batch: most packets moved at once.
        frames: frames of each queue.
        frame_size: bytes a frame: 2,048 or 4,096, or all between with `unaligned`.
        unaligned: frames may lie anywhere in the UMEM (XDP_UMEM_UNALIGNED_CHUNK_FLAG).
        shared_umem: one UMEM for all queues, of which each has a part; else one for each.
        multi_buffer: packets larger than a frame fill several (XDP_USE_SG); the XDP program must be one that
            takes such packets (`ProgramSpec.frags`).
        headroom: bytes left free in front of each packet, beyond XDP's own 256.
        rx_size, tx_size, fill_size, completion_size: entries of the rings, powers of two.
        need_wakeup: wake the kernel only when it asks for it.
        tx_budget: descriptors that one copy-mode sendto() may send; 0 for as many as the TX ring holds.
        busy_poll: the queues' threads let the kernel receive (SO_PREFER_BUSY_POLL) and hold interrupts back.
        busy_poll_usecs: how long one such call may poll, in microseconds (SO_BUSY_POLL).
        busy_poll_budget: most packets that one such call receives (SO_BUSY_POLL_BUDGET).
        defer_irqs: for busy_poll: the interface's napi_defer_hard_irqs while we run; 0 leaves both alone.
        flush_timeout: for busy_poll: the interface's gro_flush_timeout while we run, in nanoseconds.
        hugepages: UMEM on 2 MiB pages.
        cpus: the CPU of each queue's thread, in the order of `queues`; empty: not pinned.
        user: become this user (NAME, NAME:GROUP or ids) once all is bound; "" stays who we are.
        keep_privileges: keep all capabilities; otherwise they are given up for good once all is bound.
        priority: "fifo:1" to "fifo:99" or "nice:-20" to "nice:19" for the queues' threads; "" for none.
        lock_memory: "all" of the process's memory, "on-fault" as it is used, or "none" but the UMEM.
        check_owners: keep a table of every frame's owner and report violations.
        interval: seconds between two lines, tables or objects; 0 prints none.
        plain: lines on a terminal too, where a table would be drawn.
        json_lines: an object a line on stdout: what was granted, each interval, the report.
        stats_socket: where `xdplab stats` can ask: "auto" for an abstract name, "none", or a path.
        duration: seconds to run; 0 for until a signal.
        parent_death_signal: be killed when the parent's *thread* that started us ends.
        pause_receive: for tests: packets are never taken off the RX ring.
        no_fill: for tests: the kernel is never given a frame to receive into.

    Raises:
        InputError: a value that cannot be.
    """

    interface: str
    also: tuple[str, ...] = ()
    also_xskmap: tuple[str, ...] = ()
    also_host_tap: tuple[str, ...] = ()
    queues: tuple[int, ...] = (0,)
    action: str = "drop"
    python: str = ""
    metadata: bool = False
    verdict: str = ""
    verdict_context: str = ""
    out: str = ""
    both_ways: bool = False
    host_tap: str = ""
    mirror: str = ""
    mirror_marked: bool = False
    pcapng: str = ""
    pcapng_snap: int = 65535
    pcapng_marked: bool = False
    set_src_mac: str = ""
    set_dst_mac: str = ""
    respond_mac: str = ""
    respond_ip: tuple[str, ...] = ()
    xskmap: str = ""
    out_xskmap: str = ""
    binding: str = "auto"
    batch: int = 64
    frames: int = 4096
    frame_size: int = 2048
    unaligned: bool = False
    shared_umem: bool = False
    multi_buffer: bool = False
    headroom: int = 0
    rx_size: int = 2048
    tx_size: int = 2048
    fill_size: int = 2048
    completion_size: int = 2048
    need_wakeup: bool = True
    tx_budget: int = 0
    busy_poll: bool = False
    busy_poll_usecs: int = 20
    busy_poll_budget: int = 64
    defer_irqs: int = 2
    flush_timeout: int = 200_000
    hugepages: bool = False
    cpus: tuple[int, ...] = ()
    user: str = ""
    keep_privileges: bool = False
    priority: str = ""
    lock_memory: str = "none"
    check_owners: bool = False
    interval: float = 1.0
    plain: bool = False
    json_lines: bool = False
    stats_socket: str = "auto"
    duration: float = 0.0
    parent_death_signal: bool = False
    pause_receive: bool = False
    no_fill: bool = False

    def __post_init__(self) -> None:
        self._check_names()
        self._check_action()
        self._check_sizes()
        self._check_process()

    def _check_names(self) -> None:
        for option, name in (
            ("--interface", self.interface),
            ("--out", self.out),
            ("--host-tap", self.host_tap),
            ("--mirror", self.mirror),
            *(("--also-host-tap", name) for name in self.also_host_tap),
        ):
            if option == "--interface" and not name:
                raise InputError("name the interface to receive on with --interface")
            if len(name) > NAME_MAX:
                raise InputError(f"{option} {name!r}: an interface's name has at most {NAME_MAX} characters")
        if not self.queues or len(set(self.queues)) != len(self.queues):
            raise InputError(f"--queue {_list(self.queues)}: name each queue once")
        if min(self.queues) < 0:
            raise InputError(f"--queue {min(self.queues)}: queues count from 0")
        threads = len(self.queues) * (1 + len(self.also))
        if self.cpus and len(self.cpus) != threads:
            raise InputError(
                f"--cpu {_list(self.cpus)}: give one CPU for each of {threads} queue(s), or none"
            )
        self._check_also()

    def _check_also(self) -> None:
        names = (self.interface, *self.also)
        if "" in self.also or len(set(names)) != len(names):
            raise InputError(f"--also {_list(self.also)}: name each further interface once")
        for option, other in (("--out", self.out), ("--mirror", self.mirror)):
            if self.also and other:
                raise InputError(
                    f"{option} with --also: the kernel has one completion ring for each queue of {other}, "
                    "which only one thread can use; start a forwarder for each interface, with other queues"
                )
        if len(self.also_host_tap) != (len(self.also) if self.host_tap else 0):
            raise InputError(
                "--also-host-tap: a TAP stands for one interface; with --host-tap give one for each of "
                f"{len(self.also)} interface(s) of --also, without it none"
            )
        taps = [self.host_tap, *self.also_host_tap] if self.host_tap else []
        if len(set(taps)) != len(taps) or "" in taps:
            raise InputError(f"--also-host-tap {_list(self.also_host_tap)}: name each TAP once")
        if self.also_xskmap and len(self.also_xskmap) != len(self.also):
            raise InputError(
                f"--also-xskmap: give one map for each of {len(self.also)} interface(s) of --also"
            )

    def each_interface(self) -> tuple[ForwarderSpec, ...]:
        """This spec, and the like for each device of `also`, as specs of one interface."""
        n = len(self.queues)
        interfaces = (self.interface, *self.also)
        taps = (self.host_tap, *(self.also_host_tap or ("",) * len(self.also)))
        return tuple(
            dataclasses.replace(
                self,
                interface=interface,
                also=(),
                also_xskmap=(),
                also_host_tap=(),
                host_tap=tap,
                cpus=self.cpus[place * n : (place + 1) * n],
            )
            for place, (interface, tap) in enumerate(zip(interfaces, taps, strict=True))
        )

    def _check_action(self) -> None:
        if self.action not in ACTIONS:
            raise InputError(f"--action {self.action}: choose one of {', '.join(ACTIONS)}")
        if self.both_ways and not self.out:
            raise InputError("--both-ways needs --out, the other interface")
        if self.out and self.out == self.interface:
            raise InputError(
                f"--out {self.out}: it is the interface itself; what is sent back is --action echo"
            )
        if self.out_xskmap and not self.both_ways:
            raise InputError("--out-xskmap needs --both-ways: without it nothing is received there")
        if self.mirror and self.mirror in (self.interface, self.out):
            raise InputError(f"--mirror {self.mirror}: copies need an interface of their own")
        if self.mirror and self.frames <= self.fill_size * (1 + self.both_ways):
            raise InputError(
                f"--mirror {self.mirror}: copies need frames beyond those that the fill rings hold: "
                f"give more than {self.fill_size * (1 + self.both_ways)} --frames"
            )
        if self.host_tap and self.both_ways:
            raise InputError("--host-tap stands for one interface, --both-ways receives on two: choose one")
        if self.mirror_marked and not (self.mirror and self.action in FUNCTIONS):
            raise InputError(
                "--mirror-marked needs --mirror, and a function (--python, --verdict) that marks"
            )
        if self.pcapng_marked and not (self.pcapng and self.action in FUNCTIONS):
            raise InputError(
                "--pcapng-marked needs --pcapng, and a function (--python, --verdict) that marks"
            )
        if not 1 <= self.pcapng_snap <= SNAP_MAX:
            raise InputError(f"--pcapng-snap {self.pcapng_snap}: choose 1 to {SNAP_MAX} bytes")
        if self.action == "host" and not self.host_tap:
            raise InputError("--action host needs --host-tap, the name of a TAP to make")
        if self.action == "forward" and not self.out:
            raise InputError("--action forward needs --out, the interface to send out of")
        if (self.action == "python") != bool(self.python):
            raise InputError("--action python and --python MODULE:FUNCTION belong together")
        if self.metadata and self.action != "python":
            raise InputError("--metadata is for --python: a verdict function finds it in front of the packet")
        if self.python and not re.fullmatch(r"[\w.]+:\w+", self.python):
            raise InputError(f"--python {self.python}: write MODULE:FUNCTION")
        self._check_verdict()
        for option, address in (
            ("--set-src-mac", self.set_src_mac),
            ("--set-dst-mac", self.set_dst_mac),
            ("--respond-mac", self.respond_mac),
        ):
            mac_bytes(address, option)
        if self.respond_ip:
            ip_bytes(self.respond_ip)
        if self.binding not in BINDINGS:
            raise InputError(f"binding {self.binding!r}: choose one of {', '.join(BINDINGS)}")

    def _check_verdict(self) -> None:
        # An object may be given later, to the loop: then the action has no name here.
        if self.action != "verdict" and (self.verdict or self.verdict_context):
            raise InputError("--verdict and --verdict-context belong to --action verdict")
        if self.verdict and not re.fullmatch(r"(?:.*[/.].*|\w+):\w+", self.verdict):
            raise InputError(f"--verdict {self.verdict}: write MODULE:NAME or PATH.so:SYMBOL")
        context = self.verdict_context
        size = int(context) if context.isdecimal() else 1
        if not re.fullmatch(r"|\d+|[\w.]+:\w+", context) or not 1 <= size <= CONTEXT_MAX:
            raise InputError(
                f"--verdict-context {context}: write bytes (1 to {CONTEXT_MAX}) or MODULE:FUNCTION"
            )

    def _check_sizes(self) -> None:
        if not 1 <= self.batch <= BATCH_MAX:
            raise InputError(f"--batch {self.batch}: choose 1 to {BATCH_MAX}")
        for ring in ("rx_size", "tx_size", "fill_size", "completion_size"):
            size = getattr(self, ring)
            if not 1 <= size <= RING_MAX or size & (size - 1):
                option = ring.replace("_", "-")
                raise InputError(f"--{option} {size}: choose a power of two from 1 to {RING_MAX}")
        if self.frame_size < 1 or (self.frame_size & (self.frame_size - 1) and not self.unaligned):
            raise InputError(
                f"--frame-size {self.frame_size}: choose a power of two (2048 or 4096), or add --unaligned"
            )
        if self.multi_buffer and min(self.batch, self.tx_size, self.rx_size) < CHAIN_MAX:
            raise InputError(
                f"--multi-buffer: a packet may have {CHAIN_MAX} descriptors; make --batch, --rx-size and "
                "--tx-size at least as large"
            )
        for option, value, most in (
            ("--tx-budget", self.tx_budget, self.tx_size),
            ("--busy-poll-budget", self.busy_poll_budget, 0xFFFF),
            ("--busy-poll-usecs", self.busy_poll_usecs, 0xFFFF),
            ("--defer-irqs", self.defer_irqs, 0x7FFFFFFF),
            ("--flush-timeout", self.flush_timeout, 0x7FFFFFFF),
        ):
            if not 0 <= value <= most:
                raise InputError(f"{option} {value}: choose 0 to {most}")
        if not 1 <= self.frames <= RING_MAX:
            raise InputError(f"--frames {self.frames}: choose 1 to {RING_MAX}")
        if not 0 <= self.headroom < self.frame_size:
            raise InputError(f"--headroom {self.headroom}: choose 0 to less than the frame size")
        for option, seconds in (("--interval", self.interval), ("--duration", self.duration)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise InputError(f"{option} {seconds}: give seconds, 0 or more")

    def _check_process(self) -> None:
        if self.user and self.keep_privileges:
            raise InputError("--user gives privileges up, --keep-privileges keeps them: choose one")
        if self.user and not re.fullmatch(r"[^:\s]+(:[^:\s]+)?", self.user):
            raise InputError(f"--user {self.user}: write NAME or NAME:GROUP")
        if self.priority:
            scheduling.parse(self.priority)
        if self.lock_memory not in LOCKS:
            raise InputError(f"--lock-memory {self.lock_memory}: choose one of {', '.join(LOCKS)}")
        if self.stats_socket not in ("auto", "none") and "/" not in self.stats_socket:
            raise InputError(f"--stats-socket {self.stats_socket}: give auto, none, or a path with a /")

    def to_argv(
        self,
        *,
        xskmap_fd: int | None = None,
        out_xskmap_fd: int | None = None,
        also_xskmap_fds: tuple[int, ...] = (),
        ready_fd: int | None = None,
        report_fd: int | None = None,
        counters_fd: int | None = None,
    ) -> list[str]:
        """The options that make `forwarder.cli` build this spec again; defaults are left out.

        File descriptors belong to one run, not to the spec: pass them here and to the new process.
        """
        argv: list[str] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            argv += _option(field.name, value)
        fds = {
            "--xskmap-fd": xskmap_fd,
            "--out-xskmap-fd": out_xskmap_fd,
            "--also-xskmap-fd": _list(also_xskmap_fds) or None,
            "--ready-fd": ready_fd,
            "--report-fd": report_fd,
            "--counters-fd": counters_fd,
        }
        for option, fd in fds.items():
            if fd is not None:
                argv += [option, str(fd)]
        return argv


def _option(name: str, value: object) -> list[str]:
    if name == "binding":
        return [f"--{value}"]
    if name == "need_wakeup":
        return ["--no-need-wakeup"]
    option = "--" + {"queues": "queue", "cpus": "cpu"}.get(name, name).replace("_", "-")
    if value is True:
        return [option]
    return [option, _list(value) if isinstance(value, tuple) else str(value)]


def _list(values: tuple[object, ...]) -> str:
    return ",".join(str(value) for value in values)
