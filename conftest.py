# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Loads the harness as a pytest plugin, and lets no test fail by being slow: the machine may be busy."""

from hypothesis import settings

pytest_plugins = ["labs.harness.plugin"]
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
