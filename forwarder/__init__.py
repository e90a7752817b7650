# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The AF_XDP data path: a process of its own, its loop in C."""
