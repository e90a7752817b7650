# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic: a plan as data, and three engines that send it.

scapy    any packet, frame by frame through a packet socket: thousands a second
socket   a real UDP socket: what the kernel's own stack does to datagrams
xdp      live frames made by a BPF program inside the kernel: millions a second
"""

from __future__ import annotations

from .engines import ENGINES, Engine, send
from .fields import Vary
from .plan import TrafficPlan, TrafficReport
from .scapy_engine import Traffic

__all__ = ["ENGINES", "Engine", "Traffic", "TrafficPlan", "TrafficReport", "Vary", "send"]
