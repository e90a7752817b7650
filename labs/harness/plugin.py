# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The pytest plugin."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers."""
    config.addinivalue_line("markers", "lab: needs root and a kernel with AF_XDP")
