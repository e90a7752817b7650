# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Topology, processes, traffic, counters, ledger, report, pytest plugin and command line."""
