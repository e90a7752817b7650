# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a user can do with packets: logic of one's own, and where packets can go besides out of a device."""
