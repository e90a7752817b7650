# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Lab: each known cause of "zero packets" is made on purpose, and the diagnosis must name it."""
