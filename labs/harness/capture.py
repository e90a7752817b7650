# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A capture on one interface: every frame with its direction, VLAN tags in place, and the kernel's drops.

A packet socket with a large buffer, emptied in bursts by a thread: nobody is woken for each packet, so that a
capture hardly disturbs the sender beside it. What native XDP redirects or drops is not seen: it comes before.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from labs.harness.netns import NetNs
from labs.harness.patience import patient
from xdp.pyxdp.errors import InputError, KernelError

Direction = Literal["in", "out", "both"]

ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
# include/uapi/linux/if_packet.h
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
# include/uapi/asm-generic/socket.h
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER_BYTES = 256 << 20
MAX_FRAME = 65536 + 18
BURST_S = 0.01
ANCILLARY_BYTES = 256


@dataclass(frozen=True)
class Captured:
    """One frame as it was on the wire.

    Attributes:
        data: the frame, VLAN tag included.
        outgoing: sent by this end, or else received.
        time_ns: when the kernel saw it, since the epoch.
    """

    data: bytes
    outgoing: bool
    time_ns: int


class Capture:
    """Captures from construction until `stop`; a context manager.

    Args:
        namespace: where the interface is.
        interface: its name.
        direction: "in" received, "out" sent, or "both".
        keep: which frames to keep, by their bytes; all by default. Others are only counted (`filtered`).
        idle: read nothing until somebody looks, and throw all away on `close`: a capture for the case that
            something fails, which costs nothing but the kernel's own copy. The kernel keeps what fits.

    Raises:
        InputError: there is no such interface or direction.
        KernelError: the kernel refused the socket.
    """

    def __init__(
        self,
        namespace: NetNs,
        interface: str,
        *,
        direction: Direction = "both",
        keep: Callable[[bytes], bool] | None = None,
        idle: bool = False,
    ) -> None:
        if direction not in ("in", "out", "both"):
            raise InputError(f"direction {direction!r}: use 'in', 'out' or 'both'")
        namespace.interface_index(interface)  # names those that exist, should this one not
        self.interface = interface
        self.direction = direction
        self.filtered = 0
        self._idle = idle
        self._keep = keep
        self._frames: list[Captured] = []
        self._drops = 0
        self._failure: OSError | None = None
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        # Protocol 0: nothing arrives until `bind` has chosen the interface.
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._thread = threading.Thread(target=self._run, name=f"capture-{interface}", daemon=True)
        try:
            self._configure()
            if not idle:
                self._thread.start()
        except OSError as error:
            self._socket.close()
            raise KernelError("capture", f"{namespace.role}/{interface}", error.errno or 0) from error
        except BaseException:
            self._socket.close()
            raise

    @property
    def frames(self) -> tuple[Captured, ...]:
        """All frames so far, in the order in which the kernel saw them."""
        self._read_all()
        return tuple(self._frames)

    @property
    def drops(self) -> int:
        """Frames that the kernel had no room for in our buffer: 0 in a capture that can be trusted."""
        self._read_all()
        return self._drops

    def packets(self) -> list[Any]:
        """The frames as scapy packets, with their time."""
        from scapy.layers.l2 import Ether

        packets = []
        for frame in self.frames:
            packet = Ether(frame.data)
            packet.time = frame.time_ns / 1e9
            packets.append(packet)
        return packets

    def wait_for(self, count: int, timeout_s: float) -> tuple[Captured, ...]:
        """Wait until at least `count` frames were captured.

        Raises:
            TimeoutError: says how many there were, and shows the last.
        """
        timeout_s = patient(timeout_s)
        deadline = time.monotonic() + timeout_s
        while len(frames := self.frames) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                last = f"; the last: {frames[-1].data.hex()}" if frames else ""
                raise TimeoutError(
                    f"{len(frames)} of {count} frames on {self.interface} after {timeout_s:g} s{last}"
                )
            select.select([self._socket], [], [], min(left, 0.05))
        return frames

    def write(self, path: Path) -> Path:
        """Write what was captured: pcapng if the name ends so, else pcap. No frames give a valid file too.

        Raises:
            InputError: the file cannot be written.
        """
        from scapy.utils import PcapNgWriter, PcapWriter

        is_new = path.suffix == ".pcapng"
        try:
            with contextlib.closing(
                PcapNgWriter(str(path)) if is_new else PcapWriter(str(path), linktype=1, nano=True)
            ) as writer:
                if not is_new:
                    writer.write_header(None)
                    for frame in self.frames:  # as bytes: taking each apart would cost 0.3 ms a frame
                        seconds, nanoseconds = divmod(frame.time_ns, 1_000_000_000)
                        writer.write_packet(frame.data, sec=seconds, usec=nanoseconds)
                    return path
                for packet in self.packets():
                    writer.write(packet)
        except OSError as error:
            raise InputError(f"capture cannot be written to {path}: {error.strerror}") from error
        return path

    def stop(self) -> None:
        """Take in what waits in the buffer, and end. Frames remain readable. Idempotent.

        Raises:
            KernelError: the interface vanished or went down while we listened.
        """
        self._end(read=True)
        if self._failure:
            failure, self._failure = self._failure, None
            raise KernelError("capture", self.interface, failure.errno or 0) from failure

    def close(self) -> None:
        """As `stop`, without complaint, and without taking in anything if idle. Idempotent."""
        self._end(read=not self._idle)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, *, read: bool) -> None:
        if self._stopping.is_set():
            return
        if read:
            self._read_all()
        self._stopping.set()
        if not self._idle:
            self._thread.join()
        self._socket.close()

    def _configure(self) -> None:
        options: Sequence[tuple[int, int, int]] = (
            (socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES),
            (socket.SOL_SOCKET, SO_TIMESTAMPNS, 1),
            (SOL_PACKET, PACKET_AUXDATA, 1),
            (SOL_PACKET, PACKET_IGNORE_OUTGOING, int(self.direction == "in")),
        )
        for level, option, value in options:
            self._socket.setsockopt(level, option, value)
        self._socket.setblocking(False)
        self._socket.bind((self.interface, ETH_P_ALL))

    def _run(self) -> None:
        while not self._stopping.wait(BURST_S):
            self._read_all()

    def _read_all(self) -> None:
        with self._reading:
            if self._stopping.is_set():
                return
            while True:
                try:
                    data, ancillary, _, address = self._socket.recvmsg(MAX_FRAME, ANCILLARY_BYTES)
                except BlockingIOError:
                    break
                except OSError as error:
                    self._failure = error  # raised by `stop`; reported once by the kernel
                    break
                self._take(data, ancillary, outgoing=address[2] == PACKET_OUTGOING)
            # Reading the statistics resets them.
            answer = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self._drops += struct.unpack("=II", answer)[1]

    def _take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], *, outgoing: bool) -> None:
        if self.direction == "out" and not outgoing:
            return
        time_ns = 0
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("=qq", value[:16])
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                data = _with_tag(data, value)
        if self._keep and not self._keep(data):
            self.filtered += 1
            return
        self._frames.append(Captured(data, outgoing, time_ns))


def _with_tag(data: bytes, auxdata: bytes) -> bytes:
    """Put the outer VLAN tag, which the kernel keeps beside a received frame, back to where it was."""
    status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", auxdata[:20])
    if not status & TP_STATUS_VLAN_VALID:
        return data
    kind = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
    return data[:12] + struct.pack("!HH", kind, tci) + data[12:]
