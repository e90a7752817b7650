# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`xdplab send`: exactly the asked frames out of a device, at the asked rate."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

from labs.harness.arguments import Parser, whole
from labs.harness.existing_ns import ExistingNs
from labs.harness.traffic import ENGINES, TrafficPlan, TrafficReport, Vary, send
from labs.harness.traffic.pcap import read_frames
from labs.harness.traffic.sizes import sizes
from labs.harness.traffic.stamp import DEFAULT_MAGIC
from labs.harness.traffic.units import number, rate, short
from xdp.pyxdp.errors import InputError

if TYPE_CHECKING:
    from labs.harness.netns import NetNs

EXIT_PARTIAL = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT

EPILOG = """\
engines:
  xdp     frames made inside the kernel, millions a second on one core. The other end of a veth needs an XDP
          program (xdplab sink, or any) or GRO, or it takes none of them.
  socket  a real UDP socket: what the kernel's own stack does to datagrams; UDP only
  scapy   frame by frame through a packet socket: slow, works everywhere

A stamped frame carries a sequence number, its flow, its send time and a check, 18 bytes at the start of the
payload: "xdplab sink" on the last device of the path then tells what was lost, doubled, late or damaged.

examples:
  xdplab send -i gen0 --to 192.168.1.20:4242 --count 1M               as fast as it goes
  xdplab send -i gen0 --to 192.168.1.20:4242 --rate 500k --duration 10 --vary udp.sport=1000-1999
  xdplab send -i gen0 --to 192.168.1.20:4242 --rate 1Gbit --size imix --count 5M
  xdplab send -i gen0 --pcap trace.pcapng --no-stamp --count 100k       its packets in order, again and again
  xdplab send -i gen0 --netns xl-17_1-gen …                           in a namespace by name, path or pid
"""


def parser() -> Parser:
    """The options of `xdplab send`."""
    made = Parser(
        "xdplab send",
        "Sends exactly the asked frames out of a device, at the asked rate, and tells how it went.",
        EPILOG,
    )
    made.add_argument("-i", "--interface", required=True, help="device out of which the frames go")
    made.add_argument("--netns", help="its network namespace: a name, a path, or the id of a process in it")
    made.add_argument("--engine", choices=ENGINES, default="xdp", help="see below; default xdp")
    made.add_argument("--cpu", type=whole(0, 4095), help="where the xdp engine works")
    made.add_argument(
        "--urgent", action="store_true", help="before all else on its CPU: keeps its times on a busy machine"
    )
    what = made.add_argument_group("what is sent")
    what.add_argument("--pcap", metavar="FILE", help="the packets of a capture (pcap or pcapng), in order")
    what.add_argument("--to", metavar="IP[:PORT]", help="UDP datagrams to this address; port 4242 by default")
    what.add_argument(
        "--from", dest="source", metavar="IP[:PORT]", help="from this one; default: the device's"
    )
    what.add_argument("--dst-mac", metavar="MAC", help="default: what the neighbour table says")
    what.add_argument("--src-mac", metavar="MAC", help="default: the device's")
    what.add_argument("--vlan", type=whole(0, 4095), metavar="ID", help="with a VLAN tag")
    what.add_argument(
        "--size", default="64", help='frame bytes without check sequence: "60", "64,1514", "imix", "rfc2544"'
    )
    what.add_argument(
        "--vary", action="append", default=[], metavar="FIELD=A-B", help="one value a flow; up to four times"
    )
    what.add_argument(
        "--flows", type=whole(1, 65536), help="default: as many as the longest --vary has values"
    )
    what.add_argument(
        "--time-every",
        type=int,
        metavar="N",
        help="read the clock for one frame of N: 1, 2, 4, … 64; default: 16; always 1 with --rate",
    )
    what.add_argument("--no-stamp", action="store_true", help="send the packets as they are")
    what.add_argument("--zero-checksum", action="store_true", help="no UDP checksum over IPv4")
    what.add_argument(
        "--first", type=whole(0, 2**32 - 1), default=0, metavar="N", help="first sequence number"
    )
    what.add_argument("--magic", type=whole(0, 65535), default=DEFAULT_MAGIC, help=argparse.SUPPRESS)
    much = made.add_argument_group("how many, how fast")
    much.add_argument("-n", "--count", help="frames, such as 10000, 10k, 1.5M; default: each packet once")
    much.add_argument("-t", "--duration", type=float, metavar="SECONDS", help="end after this time")
    much.add_argument("-r", "--rate", help="10k or 10kpps: frames a second; 100Mbit: bits a second")
    much.add_argument(
        "--burst", type=whole(1, 65536), default=1, help="frames that go together; the rate holds on average"
    )
    made.add_argument("--json", action="store_true", help="print the report as JSON")
    made.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return made


def main(argv: list[str]) -> int:
    """Sends; 0 when all of it was sent, 2 when the device went, 130 after Ctrl-C."""
    options = parser().parse_args(argv)
    with ExistingNs(options.netns) as namespace:
        namespace.interface_index(options.interface)
        plan = make_plan(options, namespace)
        progress = None if options.quiet or not sys.stderr.isatty() else Progress(plan.limit)
        report = send(
            plan,
            namespace,
            options.interface,
            options.engine,
            cpu=options.cpu,
            urgent=options.urgent,
            progress=progress,
        )
        if progress:
            progress.clear()
    if options.json:
        print(json.dumps({"plan": summary(plan), "report": report.to_dict()}, indent=2))
    else:
        print(describe(report))
    if report.interrupted:
        return EXIT_INTERRUPTED
    if report.refused and report.refused == report.sent:
        print(
            f"xdplab: {options.interface} took none of {report.sent:,} frames: the other end of a veth "
            "needs an XDP program (xdplab sink, or any) or GRO, and both ends must be up",
            file=sys.stderr,
        )
        return EXIT_PARTIAL
    if not report.complete:
        wanted = f" of {report.asked:,}" if report.asked is not None else ""
        print(
            f"xdplab: {options.interface}: {report.ended} after {report.sent:,}{wanted} frames",
            file=sys.stderr,
        )
        # A duration that ran out before the count did was asked for.
        return 0 if report.ended == "duration" else EXIT_PARTIAL
    return 0


class Progress:
    """One line on the terminal, written over and over."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._last = (time.monotonic(), 0)

    def __call__(self, sent: int) -> None:
        """Tells how many were sent so far."""
        now = time.monotonic()
        then, before = self._last
        self._last = now, sent
        speed = (sent - before) / max(1e-9, now - then)
        share = f" of {self._limit:,} ({sent / self._limit:.0%})" if self._limit else ""
        print(f"\r\x1b[K{sent:,}{share} frames, {short(speed)}pps", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away."""
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def make_plan(options: argparse.Namespace, namespace: NetNs) -> TrafficPlan:
    """The plan that the options ask for.

    Raises:
        InputError: they cannot be used together, or a value is none.
    """
    if bool(options.pcap) == bool(options.to):
        raise InputError("say what to send: --pcap FILE or --to IP[:PORT], one of the two")
    speed, unit = rate(options.rate) if options.rate else (None, "pps")
    packets = read_frames(options.pcap) if options.pcap else datagrams(options, namespace)
    return TrafficPlan(
        packets,
        count=number(options.count) if options.count else None,
        rate_pps=speed if unit == "pps" else None,
        rate_bps=speed if unit == "bps" else None,
        sequence=False,
        first=options.first,
        duration_s=options.duration,
        burst=options.burst,
        vary=tuple(Vary.parse(text) for text in options.vary),
        flows=options.flows,
        stamp=not options.no_stamp,
        time_every=options.time_every,
        zero_checksum=options.zero_checksum,
        magic=options.magic,
    )


def datagrams(options: argparse.Namespace, namespace: NetNs) -> list[bytes]:
    """UDP datagrams of the asked sizes, addressed by the options, and else by what the system knows."""
    from labs.harness.addresses import endpoint, neighbour, own_addresses
    from labs.harness.packets import padded, udp_packet

    target, dport = endpoint(options.to, 4242)
    mac, own = own_addresses(namespace, options.interface, target.version)
    source, sport = endpoint(options.source, 1024) if options.source else (own, 1024)
    if source is None:
        raise InputError(f"{options.interface} has no IPv{target.version} address: give one with --from")
    if source.version != target.version:
        raise InputError(f"--from {source} and --to {target} are of different IP versions")
    destination = options.dst_mac or neighbour(namespace, options.interface, target)
    if destination is None:
        raise InputError(f"the MAC address of {target} is not known on {options.interface}: give --dst-mac")
    headers = udp_packet(options.src_mac or mac, destination, source, target, sport, dport, options.vlan)
    return [padded(headers, size) for size in sizes(options.size)]


def summary(plan: TrafficPlan) -> dict[str, object]:
    """The plan without the bytes of its packets, which may be megabytes."""
    plain = plan.to_dict()
    plain["packets"] = len(plan.templates)
    return plain


def describe(report: TrafficReport) -> str:
    """The report in a few lines."""
    seconds = report.duration_ns / 1e9
    lines = [
        f"sent {report.sent:,} frames, {report.bytes:,} bytes in {seconds:.3f} s: "
        f"{short(report.rate_pps)}pps, {short(report.rate_bps)}bit/s ({report.engine})"
    ]
    if report.rate_error is not None:
        asked = report.rate_asked_pps or report.rate_asked_bps or 0.0
        unit = "pps" if report.rate_asked_pps else "bit/s"
        short_of = "" if report.rate_error > -0.005 else ": beyond reach, this is what could be sent"
        if short_of and report.engine == "xdp":
            short_of += " (on a busy CPU --urgent helps)"
        lines.append(f"asked {short(asked)}{unit}: {report.rate_error:+.3%}{short_of}")
    if report.refused:
        lines.append(f"refused by the device or its peer's ring: {report.refused:,} frames")
    if report.interrupted:
        lines.append("interrupted")
    return "\n".join(lines)
