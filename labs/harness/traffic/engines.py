# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One call for all engines: the same plan, the same report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from labs.harness.netns import NetNs
from xdp.pyxdp.errors import InputError

from .plan import TrafficPlan, TrafficReport

Engine = Literal["scapy", "socket", "xdp"]
ENGINES: tuple[str, ...] = get_args(Engine)


def send(
    plan: TrafficPlan,
    namespace: NetNs,
    interface: str,
    engine: str = "xdp",
    *,
    cpu: int | None = None,
    urgent: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrafficReport:
    """Sends a plan out of an interface, and comes back when it is done. Ctrl-C ends it with an honest report.

    Args:
        plan: what to send.
        namespace: where the interface is.
        interface: out of which the frames go.
        engine: one of `ENGINES`.
        cpu: where the xdp engine works; None: wherever the scheduler puts it.
        urgent: the xdp engine goes before all ordinary threads of its CPU, so that it keeps its times on a
            busy machine; what else must run there, such as a forwarder, starves.
        progress: called with the count sent so far, about every 0.1 s.
        stop: asked at the same times; true ends it.

    Raises:
        InputError: the plan cannot be sent by this engine or out of this interface, or no such engine.
        KernelError: the kernel refused.
    """
    if engine == "scapy":
        from .scapy_engine import Traffic

        return Traffic(plan).send(namespace, interface, progress=progress, stop=stop)
    if engine == "socket":
        from .socket_engine import send_socket

        return send_socket(plan, namespace, interface, progress=progress, stop=stop)
    if engine == "xdp":
        from .xdp_engine import send_xdp

        return send_xdp(plan, namespace, interface, cpu=cpu, urgent=urgent, progress=progress, stop=stop)
    raise InputError(f"unknown engine {engine!r}; there are {', '.join(ENGINES)}")
