# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every case fails when what it proves does not hold: something is broken on purpose under each of them.

The kernel cannot be broken here, so what is broken is what the case sees or does: a counter that is one too
high, two packets that change places, a program that is not replaced.
"""

from __future__ import annotations

import dataclasses
import select
from collections.abc import Callable
from typing import Any

import pytest

from labs.conformance import cases_life, handover, station, waiting
from labs.conformance import env as env_module
from labs.conformance.bench import Bench, bind
from labs.conformance.env import Env
from labs.conformance.forwarding import OWN, Forwarding
from labs.conformance.memory import Memory
from labs.conformance.mode import Mode
from labs.conformance.programs import FRAGS, REDIRECT
from labs.conformance.rings import Producer
from labs.conformance.runner import run_case, run_matrix
from labs.conformance.site import Wire, twin_site
from labs.conformance.station import Packet, Station
from labs.conformance.suite import FORWARDER_CASES, SOCKET_CASES
from labs.conformance.tap import Tap
from xdp.pyxdp import xsk
from xdp.xskmap import Statistics

pytestmark = pytest.mark.system

Patch = pytest.MonkeyPatch
Sabotage = Callable[[Patch], None]


def _change(patch: Patch, owner: Any, name: str, wrap: Callable[[Any, Callable[..., Any]], Any]) -> None:
    """Puts `wrap(result, call)` in the place of what a method gives."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *a, **k: wrap(original(*a, **k), lambda: original(*a, **k)))


def _spoil(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def peer_sees_a_wrong_byte(patch: Patch) -> None:
    _change(patch, Tap, "receive", lambda got, _: [*got[:-1], _spoil(got[-1])] if got else got)


def peer_sees_two_change_places(patch: Patch) -> None:
    _change(patch, Tap, "receive", lambda got, _: [got[1], got[0], *got[2:]] if len(got) > 1 else got)


def _spoiled(packet: Packet) -> Packet:
    return dataclasses.replace(packet, data=_spoil(packet.data))


def socket_sees_a_wrong_byte(patch: Patch) -> None:
    _change(patch, Station, "consume", lambda got, _: [*got[:-1], _spoiled(got[-1])] if got else got)


def socket_sees_two_change_places(patch: Patch) -> None:
    _change(patch, Station, "consume", lambda got, _: [got[1], got[0], *got[2:]] if len(got) > 1 else got)


def socket_loses_one(patch: Patch) -> None:
    _change(patch, Station, "consume", lambda got, _: got[1:] if len(got) > 3 else got)


def one_too_many(name: str) -> Sabotage:
    def sabotage(patch: Patch) -> None:
        _change(patch, xsk, "statistics", lambda found, _: {**found, name: found[name] + 1})

    return sabotage


def nothing_counted(patch: Patch) -> None:
    _change(patch, xsk, "statistics", lambda found, _: dict.fromkeys(found, 0))


def one_counted_less_at_the_ring(patch: Patch) -> None:
    def less(found: Statistics, _: object) -> Statistics:
        return dataclasses.replace(found, rx_invalid_descs=(found.rx_invalid_descs or 0) - 1)

    _change(patch, Env, "kernel_statistics", less)


def poll_never(patch: Patch) -> None:
    patch.setattr(Station, "poll", lambda *_: 0)


def poll_always(patch: Patch) -> None:
    patch.setattr(Station, "poll", lambda *_: select.POLLIN | select.POLLOUT)


def no_headroom(patch: Patch) -> None:
    original = station.register
    patch.setattr(
        env_module,
        "register",
        lambda memory, spec: original(memory, dataclasses.replace(spec, headroom=0)),
    )


def invalid_ones_are_not_tried(patch: Patch) -> None:
    patch.setattr(Station, "post_doomed", lambda *_: None)


def only_redirects(patch: Patch) -> None:
    """The program of the case does nothing of its own."""
    original = Env.use
    plain = {True: FRAGS, False: REDIRECT}
    patch.setattr(
        Env,
        "use",
        lambda self, spec=REDIRECT, *wire: original(self, plain["frags" in (spec.program or "")], *wire),
    )
    patch.setattr(Env, "use_fresh", lambda self, _: original(self, REDIRECT))


def not_replaced(patch: Patch) -> None:
    original = Env.use
    patch.setattr(Env, "use", lambda self, spec=REDIRECT, *_: original(self) if spec == REDIRECT else None)


def not_removed(patch: Patch) -> None:
    patch.setattr(Wire, "detach", lambda _: None)


def consumer_stands_still(patch: Patch) -> None:
    patch.setattr(Producer, "consumer", property(lambda _: 0))


def frame_is_lost(patch: Patch) -> None:
    _change(patch, Memory, "give", lambda frames, _: frames[:-1] if len(frames) > 1 else frames)


def will_is_incomplete(patch: Patch) -> None:
    original = handover.Will
    patch.setattr(
        cases_life,
        "Will",
        lambda *a: dataclasses.replace(original(*a), given=sorted(original(*a).given)[:60]),
    )


def heir_expects_one_more(patch: Patch) -> None:
    original = handover.Will

    def will(*arguments: Any) -> handover.Will:
        made = original(*arguments)
        return dataclasses.replace(made, expected=[*made.expected, made.expected[0]])

    patch.setattr(cases_life, "Will", will)


def one_is_taken_and_not_told(patch: Patch) -> None:
    def tell(channel: Any, will: handover.Will, giver: Station) -> int:
        giver.rx.consume(1)
        return handover.tell(channel, will, giver)

    patch.setattr(cases_life, "tell", tell)


def twins_are_one(patch: Patch) -> None:
    site = twin_site()
    patch.setattr(cases_life, "twin_site", lambda: site)


def bind_is_refused_later(patch: Patch) -> None:
    original, count = bind, iter(range(1000))

    def refuse(*a: Any, **k: Any) -> Any:
        if next(count) > 50:
            raise OSError("refused at last")
        return original(*a, **k)

    patch.setattr(env_module, "bind", refuse)


RECEIVING = (socket_sees_a_wrong_byte, socket_sees_two_change_places, socket_loses_one)
SENDING = (peer_sees_a_wrong_byte, peer_sees_two_change_places)
INVALID = (invalid_ones_are_not_tried, nothing_counted, one_too_many("tx_invalid_descs"), *SENDING)
SABOTAGE: dict[str, tuple[Sabotage, ...]] = {
    "receive": (*RECEIVING, frame_is_lost, one_too_many("rx_dropped")),
    "transmit": SENDING,
    "bidirectional": (*RECEIVING, *SENDING),
    "single_packet": (socket_sees_a_wrong_byte, peer_sees_a_wrong_byte),
    "frames_2k": (*RECEIVING, *SENDING),
    "frames_4k": (*RECEIVING, *SENDING),
    "unaligned": (*RECEIVING, *SENDING),
    "headroom": (no_headroom, *RECEIVING),
    "rings_wrap": (*RECEIVING, *SENDING, frame_is_lost),
    "poll_rx": (poll_always, socket_sees_a_wrong_byte),
    "poll_rx_wakes": (poll_never, socket_sees_a_wrong_byte),
    "poll_rx_full": (poll_never, poll_always, one_too_many("rx_ring_full"), *RECEIVING),
    "poll_tx": (poll_never, *SENDING),
    "poll_tx_full": (poll_always, *SENDING),
    "poll_sends": (poll_never, *SENDING),
    "invalid_aligned_2k": INVALID,
    "invalid_aligned_4k": INVALID,
    "invalid_unaligned": INVALID,
    "invalid_multi_buffer": (invalid_ones_are_not_tried, nothing_counted, *SENDING),
    "too_many_fragments": (invalid_ones_are_not_tried, nothing_counted, *SENDING),
    "rx_dropped": (one_too_many("rx_dropped"), *RECEIVING),
    "rx_invalid_descs": (one_too_many("rx_invalid_descs"), one_counted_less_at_the_ring, *RECEIVING),
    "tx_invalid_descs": INVALID,
    "rx_ring_full": (one_too_many("rx_ring_full"), *RECEIVING),
    "rx_fill_ring_empty_descs": (one_too_many("rx_fill_ring_empty_descs"), nothing_counted, *RECEIVING),
    "tx_ring_empty_descs": (nothing_counted, peer_sees_a_wrong_byte),
    "drop_half": (only_redirects, *RECEIVING),
    "metadata": (only_redirects, *RECEIVING),
    "tail_shrunk": (only_redirects, *RECEIVING),
    "tail_grown": (only_redirects, *RECEIVING),
    "program_replaced": (not_replaced, socket_sees_a_wrong_byte, socket_loses_one),
    "program_removed": (not_removed, socket_sees_a_wrong_byte, peer_sees_a_wrong_byte),
    "shared_one_queue": (only_redirects, *RECEIVING, *SENDING),
    "shared_two_queues": (*RECEIVING, *SENDING),
    "shared_two_devices": (socket_sees_a_wrong_byte, *SENDING),
    "jumbo_receive": RECEIVING,
    "jumbo_transmit": SENDING,
    "jumbo_unaligned": (*RECEIVING, *SENDING),
    "jumbo_metadata": (only_redirects, *RECEIVING),
    "jumbo_tail_shrunk": (only_redirects, *RECEIVING),
    "tx_consumer": (consumer_stands_still, *SENDING),
    "rebind_100": (bind_is_refused_later, socket_sees_a_wrong_byte),
    "side_by_side": (twins_are_one, *RECEIVING, *SENDING),
    "handover": (
        will_is_incomplete,
        heir_expects_one_more,
        one_is_taken_and_not_told,
        peer_sees_a_wrong_byte,
    ),
}


def name_of(sabotage: Sabotage) -> str:
    return sabotage.__qualname__.split(".")[0]


def test_each_case_has_its_sabotage() -> None:
    # Nothing that the kernel can be made to do on veth would show whether it can fail.
    assert set(SOCKET_CASES) - set(SABOTAGE) == {"jumbo_tail_grown"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: Patch) -> None:
    """What does not come is waited for in vain."""
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.2)


@pytest.mark.parametrize("case", SABOTAGE)
def test_a_case_fails_when_it_does_not_hold(bench: Bench, case: str, monkeypatch: Patch) -> None:
    unharmed = []
    for sabotage in SABOTAGE[case]:
        with monkeypatch.context() as patch:
            sabotage(patch)
            result = run_case(bench, SOCKET_CASES[case], Mode())
        if result.outcome != "fail":
            unharmed.append(f"{name_of(sabotage)}: {result.outcome} {result.reason}")
    assert unharmed == []


def test_a_forwarder_that_drops_fails_every_case_of_many_packets(bench: Bench, echo_command: str) -> None:
    template = f"{echo_command} {{dev}} {{queue}} {{map}} 40"
    names = ("forward_in_order", "forward_burst", "forward_many", "forward_killed")
    results = list(run_matrix(bench, [Mode()], [], [FORWARDER_CASES[name] for name in names], template))
    assert [one.outcome for one in results] == ["fail"] * len(names)


@pytest.mark.parametrize("case", ["forward_single", "forward_program_removed"])
def test_a_forwarder_that_sends_nothing_back_fails(bench: Bench, case: str) -> None:
    template = OWN.replace("echo", "drop")
    (result,) = run_matrix(bench, [Mode()], [], [FORWARDER_CASES[case]], template)
    assert result.outcome == "fail"


def test_a_forwarder_that_is_not_killed_is_found(bench: Bench, monkeypatch: Patch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 10.0)  # all comes: it is found by the socket, not by waiting
    monkeypatch.setattr(Forwarding, "kill_and_replace", lambda _: 1)
    (result,) = run_matrix(bench, [Mode()], [], [FORWARDER_CASES["forward_killed"]])
    assert result.outcome == "fail"
    assert "still in the XSKMAP" in result.reason
