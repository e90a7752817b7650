# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What users do with packets, ready to be copied: each once over NumPy views and once as a `numba.cfunc`.

`labs/logic` holds each to exact counts.
"""
