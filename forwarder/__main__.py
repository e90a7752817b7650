# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`python -m forwarder` is `xdplab forward`; labs run this file as a script, see launch.py."""

import sys

if not __package__:
    # A script's own folder comes first, but our socket.py is not Python's.
    sys.path[0] = sys.path[0].rpartition("/")[0]

from forwarder import launch

launch.prepare()

from forwarder.cli import main  # noqa: E402 (only now it can be found)

sys.exit(main())
