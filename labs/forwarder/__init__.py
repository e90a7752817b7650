# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The forwarder against the real kernel: actions, refusals, and every way to end."""
