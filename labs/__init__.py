# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The harness and the labs that it runs."""
