# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every packet has a fate: floods, drops of the stack, other traffic, and a bug that counters miss."""
