# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Features are found by trying; what is not there has a reason."""

from __future__ import annotations

import pytest

from xdp.device_features import BITS, device_features
from xdp.features import PROBES, feature, features
from xdp.pyxdp import InputError, KernelError, probe
from xdp.pyxdp.kernel import MapType, ProgType


def test_an_unknown_feature_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no feature is called 'x'; there are .*af_xdp"):
        feature("x")


def test_what_is_missing_has_a_reason_and_what_is_there_has_none() -> None:
    found = features()
    assert [one.name for one in found] == list(PROBES)
    for one in found:
        assert one.available == (one.reason == ""), one


@pytest.mark.system
def test_what_the_labs_need_is_found_on_a_kernel_that_runs_them() -> None:
    missing = [
        one for one in features() if one.name in ("root", "af_xdp", "xdp", "xskmap") and not one.available
    ]
    assert missing == []


@pytest.mark.system
def test_the_probes_find_what_exists_and_refuse_what_cannot() -> None:
    assert probe.prog_type(ProgType.XDP)
    assert probe.map_type(MapType.XSKMAP)
    with pytest.raises(KernelError, match=r"probe \(map type UNSPEC\)"):
        probe.map_type(MapType.UNSPEC)


@pytest.mark.system
def test_a_driver_tells_what_it_offers_and_the_loopback_device_nothing() -> None:
    try:
        offered = device_features()
    except KernelError as error:
        pytest.skip(str(error))
    assert offered["lo"] == frozenset()
    assert all(names <= set(BITS) for names in offered.values())


@pytest.mark.system
def test_what_replaces_functions_of_the_kernel_stands_or_falls_together() -> None:
    found = {name: feature(name).available for name in ("ext", "fentry", "fexit")}
    assert len(set(found.values())) == 1, found


@pytest.mark.system
def test_the_dispatcher_is_tried_anew_each_time() -> None:
    # libxdp remembers where it made its folder, and each try has a bpffs of its own.
    assert feature("dispatcher") == feature("dispatcher")
