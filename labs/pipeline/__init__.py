# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The main lab: UDP/4242 through XSKMAP and an AF_XDP forwarder."""
