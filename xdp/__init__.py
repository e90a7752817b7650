# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What runs in, or speaks to, the kernel's BPF side."""
