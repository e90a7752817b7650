# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Any command under another kernel: a guest that boots a distribution's kernel on this machine's files."""
