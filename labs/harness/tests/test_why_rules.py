# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""For every cause's evidence exactly its own rule fires, whatever else goes on beside it."""

from __future__ import annotations

import dataclasses
import errno
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.harness.tests.why_cases import ALL, CASES, GEN, HEALTHY, MAP, but, frame, info, link, sock, xskmap
from labs.harness.why.cli import EPILOG
from labs.harness.why.evidence import Evidence
from labs.harness.why.parts import Device, Map, Moved, Socket
from labs.harness.why.rules import RULES, diagnose, fired
from xdp.program_facts import ProgramFacts
from xdp.watch_events import Event
from xdp.xskmap_model import NetNamespace, Owner

each_case = pytest.mark.parametrize(
    ("case", "make"), [case[1:] for case in ALL], ids=[case[0] for case in ALL]
)
few = settings(max_examples=12)  # of each of many cases
ELSEWHERE = 77  # a namespace that has nothing to do with ours
ERRORS = (errno.EINVAL, errno.ENXIO, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EOPNOTSUPP)


def names(evidence: Evidence) -> list[str]:
    return [found.name for found in fired(evidence)]


@each_case
def test_exactly_the_rule_of_the_cause_fires(case: str, make: Callable[[], Evidence]) -> None:
    assert names(make()) == [case]
    assert diagnose(make()).name == case


def test_nothing_fires_when_packets_flow() -> None:
    assert names(HEALTHY) == []
    assert diagnose(HEALTHY).healthy


def test_there_is_a_case_for_every_rule() -> None:
    said = {found.name for _, _, make in ALL for found in fired(make())}
    assert said == set(CASES)
    assert all(any(rule(make()) for _, _, make in ALL) for rule in RULES)


def test_the_help_names_every_cause() -> None:
    listed = set(re.findall(r"^  ([a-z_]+(?: [a-z_]+)*)  +\S", EPILOG, re.MULTILINE))
    assert set(CASES) | {"unknown", "healthy"} <= {name for line in listed for name in line.split()}


@each_case
def test_a_finding_is_one_sentence_with_evidence_and_a_remedy(
    case: str, make: Callable[[], Evidence]
) -> None:
    found = diagnose(make())
    assert found.cause[0].isupper() or found.cause[0].isdigit()
    assert found.cause.endswith(".")
    assert not re.search(r"\. [A-Z]", found.cause)
    assert found.evidence
    assert all(found.evidence)
    assert found.remedy
    assert "None" not in repr((found.cause, found.evidence, found.remedy)).replace("'", "")


stranger_devices = st.builds(
    Device,
    name=st.just("other0"),
    ifindex=st.integers(1, 9),
    netns=st.just(ELSEWHERE),
    up=st.booleans(),
    mtu=st.integers(68, 9000),
    xdp_mode=st.just("native"),
    program=st.just(ProgramFacts(900, "strange", (901,))),
    counters=st.just({"rx_dropped": 5, "rx_queue_0_drops": 7}),
)
stranger_events = st.builds(
    Event,
    kind=st.sampled_from(["redirect", "redirect_err", "exception", "devmap_xmit"]),
    ifindex=st.integers(1, 9),
    netns=st.just(ELSEWHERE),
    prog_id=st.just(900),
    map_id=st.sampled_from([0, 901, MAP]),
    index=st.integers(0, 3),
    error=st.sampled_from(ERRORS),
    to_ifindex=st.integers(1, 9),
    to_netns=st.just(ELSEWHERE),
    count=st.integers(1, 10**6),
)
stranger_sockets = st.builds(
    lambda queue, losses, inode: Socket(
        info(
            inode=inode,
            queue=queue,
            ifindex=2,
            device="other0",
            netns=NetNamespace(ELSEWHERE, None, "elsewhere"),
            owners=(Owner(4000, "stranger", "stranger"),),
        ),
        Moved(ring_full=losses, no_frame=losses, dropped=losses),
        ((901, queue),),
    ),
    st.integers(0, 3),
    st.integers(0, 100),
    st.integers(1000, 2000),
)
stranger_frames = st.builds(
    lambda text, length, incoming: frame(
        at="other0",
        text=text,
        length=length,
        incoming=incoming,
        verdict=None,
        other_host=incoming,
        partial=True,
    ),
    st.sampled_from(["ARP", "UDP 10.0.0.1:1 → 10.0.0.2:2"]),
    st.integers(60, 9000),
    st.booleans(),
)


@each_case
@few
@given(data=st.data())
def test_what_others_do_on_the_machine_changes_nothing(
    case: str, make: Callable[[], Evidence], data: st.DataObject
) -> None:
    evidence = make()
    changed = dataclasses.replace(
        evidence,
        sockets=(*evidence.sockets, *data.draw(st.lists(stranger_sockets, max_size=3))),
        events=(*(evidence.events or ()), *data.draw(st.lists(stranger_events, max_size=3))),
        frames=(*evidence.frames, *data.draw(st.lists(stranger_frames, max_size=3))),
        maps=(*evidence.maps, *data.draw(st.lists(st.just(Map(901, "theirs", 4, {0: 1001})), max_size=1))),
    )
    assert names(changed) == [case]


@each_case
@few
@given(factor=st.integers(2, 10**6))
def test_how_many_packets_there_were_changes_nothing(
    case: str, make: Callable[[], Evidence], factor: int
) -> None:
    def scaled(device: Device) -> Device:
        return dataclasses.replace(device, counters={key: n * factor for key, n in device.counters.items()})

    def moved(one: Socket) -> Socket:
        more = {field.name: getattr(one.moved, field.name) * factor for field in dataclasses.fields(Moved)}
        return dataclasses.replace(one, moved=Moved(**more))

    evidence = make()
    assert evidence.peer is not None
    changed = dataclasses.replace(
        evidence,
        link=link(scaled(evidence.device), scaled(evidence.peer)),
        sockets=tuple(map(moved, evidence.sockets)),
        events=tuple(dataclasses.replace(one, count=one.count * factor) for one in evidence.events or ()),
        frames=tuple(dataclasses.replace(one, count=one.count * factor) for one in evidence.frames),
    )
    assert names(changed) == [case]


@each_case
@few
@given(name=st.text("abcdefgh0123456789", min_size=2, max_size=15), pid=st.integers(1, 10**6))
def test_names_and_process_ids_mean_nothing(
    case: str, make: Callable[[], Evidence], name: str, pid: int
) -> None:
    evidence = make()
    renamed = dataclasses.replace(evidence.device, name=name)
    owners = (Owner(pid, name, ""),)
    changed = dataclasses.replace(
        evidence,
        link=dataclasses.replace(evidence.link, device=renamed),
        sockets=tuple(
            dataclasses.replace(one, info=dataclasses.replace(one.info, owners=owners))
            for one in evidence.sockets
        ),
    )
    assert names(changed) == [case]


class TestTwoFaultsAtOnce:
    """The one that comes first on the way is named; mended, the other is."""

    def test_an_empty_map_behind_a_link_that_is_down(self) -> None:
        down = dataclasses.replace(HEALTHY.device, up=False)
        evidence = but(link=link(down), maps=(xskmap({}),), sockets=(), events=())
        assert diagnose(evidence).name == "link_down"
        assert diagnose(dataclasses.replace(evidence, link=link())).name == "map_empty"

    def test_a_full_completion_ring_and_an_empty_fill_ring(self) -> None:
        (full,) = CASES["completion_full"][0]().sockets
        starved = dataclasses.replace(full, moved=Moved(no_frame=100, dropped=100))
        assert diagnose(but(sockets=(starved,))).name == "completion_full"

    def test_a_program_that_stops_reading_because_it_cannot_send(self) -> None:
        (waiting,) = CASES["tx_not_kicked"][0]().sockets
        stuck = dataclasses.replace(waiting, moved=Moved(ring_full=50))
        assert names(but(sockets=(stuck,))) == ["tx_not_kicked"]


def test_a_ring_that_is_full_for_a_moment_is_no_cause() -> None:
    busy = Moved(received=9, read=9, queued=9, sent=9, completed=9, taken_back=9)
    (full,) = CASES["completion_full"][0]().sockets
    assert names(but(sockets=(dataclasses.replace(full, moved=busy),))) == []


def test_a_socket_that_only_sends_needs_no_program() -> None:
    lone = dataclasses.replace(HEALTHY.device, program=None, xdp_mode="none", counters={})
    sends = sock(Moved(queued=5, sent=5), (), rx=None)
    evidence = but(link=link(lone), maps=(), sockets=(sends,), events=(), frames=())
    assert diagnose(evidence).healthy
    stuck = CASES["tx_not_kicked"][0]().sockets[0].info
    waiting = Socket(dataclasses.replace(stuck, rx=None), Moved(queued=5))
    assert diagnose(dataclasses.replace(evidence, sockets=(waiting,))).name == "tx_not_kicked"


def test_an_error_that_no_rule_knows_is_not_called_healthy() -> None:
    odd = Event("redirect_err", 2, HEALTHY.device.netns, 40, MAP, 0, errno.EFAULT, count=9)
    found = diagnose(but(events=(odd,)))
    assert (found.name, found.healthy) == ("unknown", False)
    assert any("EFAULT" in line for line in found.evidence)


class TestHolders:
    """Who holds the frames of an exhausted UMEM adds up to all of them."""

    def test_frames_in_rings_and_pool_are_told_and_the_rest_is_leaked(self) -> None:
        (socket,) = CASES["umem_exhausted"][0]().sockets
        socket = dataclasses.replace(socket, info=dataclasses.replace(socket.info, pool_free=6))
        found = diagnose(dataclasses.replace(CASES["umem_exhausted"][0](), sockets=(socket,)))
        assert "frames: kernel's pool 6, process 250" in found.evidence

    def test_frames_that_wait_as_completions_are_not_called_leaked(self) -> None:
        evidence = CASES["umem_exhausted"][0]()
        (socket,) = evidence.sockets
        completion = dataclasses.replace(HEALTHY.sockets[0].info.completion, size=512, producer=456)  # type: ignore[type-var]
        socket = dataclasses.replace(socket, info=dataclasses.replace(socket.info, completion=completion))
        found = diagnose(dataclasses.replace(evidence, sockets=(socket,)))
        assert found.name == "umem_exhausted"
        assert "256 of its 256 frames are with the completion ring" in found.cause

    def test_frames_of_another_umem_are_not_counted(self) -> None:
        evidence = CASES["umem_exhausted"][0]()
        (socket,) = evidence.sockets
        assert socket.info.umem is not None
        other = dataclasses.replace(
            HEALTHY.sockets[0].info, inode=501, queue=1, umem=dataclasses.replace(socket.info.umem, id=1)
        )
        found = diagnose(dataclasses.replace(evidence, sockets=(socket, Socket(other))))
        assert "frames: process 256" in found.evidence


def test_a_stranger_whose_sending_is_stuck_is_not_our_cause() -> None:
    stuck = CASES["tx_not_kicked"][0]().sockets[0].info
    stranger = dataclasses.replace(stuck, inode=501, queue=1, owners=(Owner(7, "stranger", ""),))
    assert names(but(sockets=(*HEALTHY.sockets, Socket(stranger, Moved())))) == []


def test_packets_for_others_that_we_did_not_send_are_not_our_cause() -> None:
    evidence = CASES["wrong_mac"][0]()
    idle = tuple(dataclasses.replace(one, moved=Moved(received=200, read=200)) for one in evidence.sockets)
    assert names(dataclasses.replace(evidence, sockets=idle)) == []


def test_a_frame_has_room_for_its_chunk_less_xdps_head_room() -> None:
    assert "1,792 bytes" in diagnose(CASES["frame_too_long"][0]()).cause


def test_the_namespace_of_the_peer_is_never_taken_for_our_own() -> None:
    """gen0 and dut0 have the same ifindex, each in its namespace: as in every fresh pair."""
    theirs = Event("redirect_err", 2, GEN, 900, 0, 0, errno.EINVAL, count=9)
    assert names(but(events=(*(HEALTHY.events or ()), theirs))) == []
