# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Does AF_XDP do here what its users rely on? Each rule is a small case, run in every mode of the socket."""
