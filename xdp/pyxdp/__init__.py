# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""pyxdp-ctypes: typed ctypes binding of libbpf and libxdp; knows nothing of the project around it."""
