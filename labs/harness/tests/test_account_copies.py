# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The ledger of copies balances for what can be, and any single wrong count breaks it where it is."""

from __future__ import annotations

import pytest

from labs.harness.account_copies import account_copies

COUNTED = {
    "forwarder_mirror_packets": 90,
    "forwarder_mirror_completed": 88,
    "forwarder_mirror_refused": 3,
    "forwarder_mirror_no_frame": 7,
    "forwarder_mirror_ring_full": 5,
    "dut1_tx_packets": 85,
}


def test_every_copy_has_a_fate() -> None:
    ledger = account_copies(COUNTED, "dut1")
    assert ledger.balanced
    assert ledger.sent == 102
    assert ledger.delivered == 85
    assert ledger.losses == {
        "mirror/no_frame": 7,
        "mirror/ring_full": 5,
        "mirror_tx/waiting": 2,
        "mirror_tx/refused_by_device": 3,
    }


@pytest.mark.parametrize(
    "name", ["forwarder_mirror_completed", "forwarder_mirror_refused", "dut1_tx_packets"]
)
def test_one_frame_too_many_anywhere_breaks_it(name: str) -> None:
    broken = account_copies({**COUNTED, name: COUNTED[name] + 1}, "dut1").first_break()
    assert broken is not None
    assert broken.place == "mirror_tx"
