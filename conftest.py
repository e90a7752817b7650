# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Loads the harness as a pytest plugin; lets no test depend on how busy the machine is, nor on who calls."""

import signal

from hypothesis import settings

pytest_plugins = ["labs.harness.plugin"]
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# A shell starts what runs in its background with Ctrl-C ignored; tests send it to themselves and to children.
signal.signal(signal.SIGINT, signal.default_int_handler)
