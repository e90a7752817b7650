# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Why zero packets? Evidence from the kernel's view, and rules that name one cause from it."""
