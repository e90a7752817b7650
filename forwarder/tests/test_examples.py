# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Both forms of each example, over arrays and packet by packet, decide and write the same."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from forwarder.examples import allow_list, balancer
from forwarder.tests.test_batch import DATA, with_checksums_again
from forwarder.trial import as_batch, as_bytes, ask
from forwarder.verdict import DROP, FORWARD, NOT_MATCHED


def compiled(numpy_form: Any) -> Any:
    """The other form of an example, compiled when it is first asked for: that takes seconds."""
    return importlib.import_module(f"{numpy_form.__name__}_numba")


def both(numpy_form: Any, packets: list[bytes]) -> tuple[list[int], list[bytes]]:
    """What both say; they must agree."""
    descriptors, frames = as_batch(packets)
    verdicts = [int(one) for one in numpy_form.decide(descriptors, frames)]
    written = as_bytes(descriptors, frames)
    numba_form = compiled(numpy_form)
    context = numba_form.context(0)
    single = [ask(numba_form.decide, packet, context) for packet in packets]
    assert verdicts == [verdict for verdict, _ in single]
    assert written == [data for _, data in single]
    return verdicts, written


def from_source(address: str, **options: Any) -> bytes:
    return bytes(
        Ether(dst="02:00:00:00:00:01") / IP(src=address, dst="10.0.0.1") / UDP(**options) / b"payload"
    )


def test_allow_list_lets_through_what_is_on_it() -> None:
    sources = [*allow_list.ALLOWED, "192.0.2.2", "0.0.0.0", "255.255.255.255"]  # noqa: S104 (no address to bind)
    verdicts, _ = both(allow_list, [from_source(one) for one in sources])
    assert verdicts == [FORWARD] * len(allow_list.ALLOWED) + [DROP] * 3


def test_allow_list_matches_no_other_protocol() -> None:
    arp = bytes(Ether(type=0x0806)) + bytes(46)
    assert both(allow_list, [arp])[0] == [NOT_MATCHED]


def test_allow_list_counts_in_its_context() -> None:
    numba_form = compiled(allow_list)
    context = numba_form.context(0)
    for source in (allow_list.ALLOWED[0], "10.9.9.9", "10.9.9.8"):
        ask(numba_form.decide, from_source(source), context)
    assert (context["allowed"][0], context["refused"][0]) == (1, 2)


flows = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 65535),
    st.sampled_from([UDP, TCP]), st.binary(max_size=9),
)  # fmt: skip


@given(st.lists(flows, min_size=1, max_size=8))
def test_balancer_keeps_checksums_right_and_flows_together(given_flows: list[Any]) -> None:
    packets = []
    for source, destination, sport, dport, protocol, payload in given_flows:
        addresses = [".".join(map(str, value.to_bytes(4, "big"))) for value in (source, destination)]
        ip = IP(src=addresses[0], dst=addresses[1])
        packets.append(
            bytes(Ether(dst="02:00:00:00:00:01") / ip / protocol(sport=sport, dport=dport) / payload)
        )
    verdicts, written = both(balancer, packets * 2)
    assert set(verdicts) == {FORWARD}
    assert written[: len(packets)] == written[len(packets) :]
    for data in written:
        packet = Ether(data)
        assert (packet[IP].dst, packet.dst) in balancer.BACKENDS
        assert data == with_checksums_again(data)


def test_balancer_takes_only_whole_udp_and_tcp() -> None:
    verdicts, written = both(balancer, [packet for packet in DATA if packet[12:14] != b"\x81\x00"][:2])
    assert verdicts == [FORWARD, FORWARD]
    plain = [data for data in DATA if data[12:14] not in (b"\x81\x00", b"\x88\xa8")]
    verdicts, written = both(balancer, plain)
    for verdict, before, after in zip(verdicts, plain, written, strict=True):
        assert verdict in (FORWARD, NOT_MATCHED)
        assert (before == after) == (verdict == NOT_MATCHED)


@pytest.mark.parametrize("backends", [2, 4, 7])
def test_balancer_spreads_flows_evenly(backends: int) -> None:
    ports = np.arange(4096, dtype=np.int64) << 16 | 80
    chosen = balancer.flow_hash(0xC0A8010A, 0xC0A80114, ports, 17) % backends
    counts = np.bincount(chosen, minlength=backends)
    assert counts.min() > 0.9 * 4096 / backends
    assert counts.max() < 1.1 * 4096 / backends
