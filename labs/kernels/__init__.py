# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The labs under other kernels: what a guest does, and one table of what each kernel passes."""
