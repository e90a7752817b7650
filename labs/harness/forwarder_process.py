# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The forwarder as a child: given an XSKMAP, it answers what it was granted, counts live, leaves a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from forwarder import launch
from labs.harness.netns import NetNs
from labs.harness.process import READY_TIMEOUT_S, Process


class TakesArguments(Protocol):
    """What is asked of a forwarder's spec: its command line, without the program's name."""

    def to_argv(self) -> Sequence[str]:
        """The options."""
        ...


class ForwarderProcess(Process):
    """A forwarder that is ready.

    Args:
        spec: what it shall do, usually a `forwarder.spec.ForwarderSpec`.
        namespace: where its interfaces live.
        run: the run's id.
        xskmap_fd: the map into which it puts its sockets, inherited; None to leave maps alone.
        out_xskmap_fd: likewise for those on its other interface, where it receives there too.
        also_xskmap_fds: likewise for each of the spec's further interfaces.
        program: what to run in its place: any command that speaks the same protocol of ready and report pipe;
            None for ours, started the fast way.
        others: as for `Process`.
    """

    def __init__(
        self,
        spec: TakesArguments,
        *,
        namespace: NetNs,
        run: str,
        xskmap_fd: int | None = None,
        out_xskmap_fd: int | None = None,
        also_xskmap_fds: Sequence[int] = (),
        program: Sequence[str] | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        keep: bool = False,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self.spec = spec
        if program is None:
            program, env = launch.command(), {**launch.environment(), **(env or {})}
        argv = [*program, *spec.to_argv()]
        # From here on `close` finds it; Process calls that if it fails.
        self._counters_fd = os.memfd_create("forwarder-counters", os.MFD_CLOEXEC)
        argv += ["--counters-fd", str(self._counters_fd)]
        inherited = [*pass_fds, self._counters_fd]
        for option, fd in (("--xskmap-fd", xskmap_fd), ("--out-xskmap-fd", out_xskmap_fd)):
            if fd is not None:
                argv += [option, str(fd)]
                inherited.append(fd)
        if also_xskmap_fds:
            argv += ["--also-xskmap-fd", ",".join(map(str, also_xskmap_fds))]
            inherited += also_xskmap_fds
        super().__init__(
            argv,
            run=run,
            namespace=namespace,
            ready_option="--ready-fd",
            report_option="--report-fd",
            pass_fds=inherited,
            env=env,
            keep=keep,
            ready_timeout_s=ready_timeout_s,
        )

    @property
    def sockets(self) -> list[dict[str, Any]]:
        """What was granted for each AF_XDP socket, from the ready line."""
        return list(self.ready.get("sockets", []))

    def counters(self) -> dict[str, int]:
        """The counters as they stand now, from the memory that its loop writes; also after its end."""
        from forwarder.stats import CountersView

        view = CountersView(self._counters_fd)
        try:
            return dict(view.read())
        finally:
            view.close()

    def counters_of_queues(self) -> list[dict[str, int]]:
        """The same for each queue, in the order of the spec."""
        from forwarder.stats import CountersView

        with CountersView(self._counters_fd) as view:
            return [view.queue(place) for place in range(view.queues)]

    def __enter__(self) -> ForwarderProcess:
        return self

    def close(self) -> None:
        """As for `Process`; the counters are gone afterwards."""
        try:
            super().close()
        finally:
            fd, self._counters_fd = self._counters_fd, -1
            if fd >= 0:
                os.close(fd)
