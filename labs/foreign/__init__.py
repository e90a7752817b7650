# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A lab for forwarders that know nothing of us: here one in plain C on libxdp."""
