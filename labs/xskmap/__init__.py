# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Lab: what an XSKMAP really holds, read beside processes that know nothing of the reader."""
