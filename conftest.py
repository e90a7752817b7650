# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Loads the harness as a pytest plugin, nothing else."""

pytest_plugins = ["labs.harness.plugin"]
