# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""AF_XDP without copies, on two network cards that a cable joins."""
