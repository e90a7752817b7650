# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a program says to each frame is counted at its exit (fexit): exactly, whatever it counts itself.

Not where the kernel refuses fexit; `test_watch_refused` shows the account there.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from forwarder.spec import ForwarderSpec
from labs.harness.ledger import Ledger
from labs.harness.packets import datagram
from labs.harness.pipeline import Pipeline, attach
from labs.harness.topology import PAIR, NodeSpec, Topology, TopologySpec
from labs.harness.traffic import TrafficPlan, TrafficReport
from xdp.attachment import Attachment, Mode
from xdp.compiler import compile_bpf
from xdp.program import Program, ProgramSpec
from xdp.pyxdp.errors import InputError
from xdp.pyxdp.run import run
from xdp.watch_events import ACTIONS
from xdp.watch_verdicts import VERDICTS, VerdictWatch

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.requires("fexit")]
SOURCES = Path(__file__).with_name("src")
BASE, NO_ACTION = 5000, 77  # src/mixed.bpf.c
GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
TIMES = 10
# Verdict → packets of one round.
MIXED = {"aborted": 3, "drop": 5, "pass": 7, "tx": 11, "redirect": 13, "invalid": 2}
SAID = {name: count * TIMES for name, count in MIXED.items()}
SENT = sum(SAID.values())


def packet_for(verdict: str) -> Packet:
    """What src/mixed.bpf.c says this to."""
    action = [*VERDICTS[: len(ACTIONS)]].index(verdict) if verdict != "invalid" else NO_ACTION
    ports = UDP(sport=40000, dport=BASE + action)
    return Ether(src=GEN.mac, dst=DUT.mac) / IP(src=GEN.ip, dst=DUT.ip) / ports / bytes(18)


@pytest.fixture
def plan() -> TrafficPlan:
    packets = [packet_for(verdict) for verdict, count in MIXED.items() for _ in range(count)]
    return TrafficPlan(packets, count=SENT, rate_pps=5_000)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ProgramSpec:
    """A foreign program that counts nothing and says all that there is to say."""
    target = tmp_path_factory.mktemp("verdicts") / "mixed.o"
    return ProgramSpec(str(compile_bpf(SOURCES / "mixed.bpf.c", target)))


@pytest.fixture
def program_spec(mixed: ProgramSpec) -> ProgramSpec:
    return mixed


@pytest.fixture
def topology_spec() -> TopologySpec:
    """No ICMP errors from the DUT's stack, which would be traffic of their own."""
    quiet = NodeSpec("dut", sysctls=(("net/ipv4/icmp_ratelimit", "100000000"),))
    return dataclasses.replace(PAIR, nodes=(NodeSpec("gen"), quiet))


@pytest.fixture
def forwarder_spec() -> ForwarderSpec:
    return ForwarderSpec("dut0", action="drop", check_owners=True)


class TestForeign:
    """Its verdicts are fates, in each mode; nobody else knows all of them."""

    @pytest.fixture(params=["native", "generic"])
    def xdp_mode(self, request: pytest.FixtureRequest) -> Mode:
        mode: Mode = request.param
        return mode

    def test_each_verdict_of_a_program_that_counts_nothing_is_a_fate(
        self,
        xdp_mode: Mode,
        plan: TrafficPlan,
        traffic: Callable[..., TrafficReport],
        ledger: Callable[..., Ledger],
    ) -> None:
        made = ledger(traffic(plan), delivered={"forwarder/dropped", "xdp/host_passed"})
        assert made.balanced
        # In native mode gen0 takes no frame from XDP, which the driver tells: it has no NAPI.
        back, lost = ("not_sent_back", "sent_back")[:: 1 if xdp_mode == "native" else -1]
        assert {path: count for path, count in made.losses.items() if path.startswith("xdp/")} == {
            "xdp/aborted": SAID["aborted"],
            "xdp/dropped": SAID["drop"],
            "xdp/no_verdict": SAID["invalid"],
            f"xdp/{back}": SAID["tx"],
        }
        assert f"xdp/{lost}" not in made.losses
        assert made.fates()["xdp/host_passed"] == SAID["pass"]
        assert made.fates()["forwarder/dropped"] == SAID["redirect"]
        assert made.hops[1].seen_by == "fexit"
        (causes,) = [one for one in made.causes if one.fates == ("xdp/host_passed",)]
        assert sum(causes.reasons.values()) == SAID["pass"], "what XDP dropped is none of the stack's drops"


@pytest.fixture
def napi(topology: Topology) -> Iterator[None]:
    """An XDP program on gen0, so that it takes frames from XDP."""
    with Program.load(ProgramSpec("xdp_pass")) as program:
        attach(program, topology, "gen0", "native")
        yield


@pytest.mark.usefixtures("napi")
def test_what_is_sent_back_in_native_mode_leaves_and_is_no_frame_of_the_forwarders(
    plan: TrafficPlan, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
) -> None:
    made = ledger(traffic(plan), delivered={"forwarder/dropped", "xdp/host_passed"})
    assert made.balanced
    assert (made.fates()["xdp/sent_back"], made.fates()["xdp/not_sent_back"]) == (SAID["tx"], 0)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that counts, and does as its constants say."""
    target = tmp_path_factory.mktemp("verdicts") / "counting.o"
    return str(compile_bpf(SOURCES / "counting.bpf.c", target))


class TestCounting:
    """A program that counts has a second witness."""

    @pytest.fixture
    def told(self) -> dict[str, int]:
        """How the program is to behave."""
        return {}

    @pytest.fixture
    def program_spec(self, counting: str, told: dict[str, int]) -> ProgramSpec:
        return ProgramSpec(counting, rodata=told)

    def made(self, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]) -> Ledger:
        """An account of a hundred frames."""
        return ledger(traffic(TrafficPlan(datagram(), count=100)))

    def test_what_it_counts_as_passed_and_passes_is_confirmed(
        self, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        made = self.made(traffic, ledger)
        assert made.balanced
        assert made.fates()["xdp/host_good"] == 100
        assert made.hops[1].seen_by == "program and fexit"
        assert "fexit" not in [one.witness for one in made.causes], "nothing to add"

    @pytest.mark.parametrize("told", [{"drops": 1}])
    def test_what_it_counts_as_passed_and_drops_is_named(
        self, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        made = self.made(traffic, ledger)
        assert made.balanced
        assert [(one.fates, one.reasons) for one in made.causes if one.witness == "fexit"] == [
            (("xdp/host_good",), {"XDP_DROP": 100})
        ]
        assert ": XDP_DROP" in made.table()

    @pytest.mark.parametrize("told", [{"forgets": 4}, {"forgets": 4, "redirects": 1}])
    @pytest.mark.unbalanced("the program forgets every fourth frame")
    def test_what_it_forgets_to_count_is_missing_at_its_hop(
        self, traffic: Callable[..., TrafficReport], ledger: Callable[..., Ledger]
    ) -> None:
        made = self.made(traffic, ledger)
        first = made.first_break()
        assert first is not None
        assert (first.place, first.missing) == ("xdp", 25)


class TestWatch:
    """The watch itself."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR.with_links(queues=2).with_end("gen0", send_queues=1)

    @pytest.fixture
    def watch(self, program: Program, attachment: Attachment, topology: Topology) -> VerdictWatch:
        """Of dut0; closed with the program."""
        return VerdictWatch(program.fd, topology["dut"].inode, attachment.ifindex, 2)

    def test_only_frames_of_its_device_are_counted_and_by_queue(
        self,
        watch: VerdictWatch,
        program: Program,
        topology: Topology,
        traffic: Callable[..., TrafficReport],
    ) -> None:
        with watch:
            attach(program, topology, "gen0", "native")
            assert run(program.fd, bytes(60)).value == ACTIONS.index("XDP_PASS")
            traffic(TrafficPlan(packet_for("drop"), count=50))
            traffic(TrafficPlan(packet_for("aborted"), count=30), "dut")
            # Nobody redirects here: the slots are empty, and then it passes.
            traffic(TrafficPlan(packet_for("redirect"), count=20))
            nothing = dict.fromkeys(VERDICTS, 0)
            assert watch.by_queue() == {0: {**nothing, "drop": 50, "pass": 20}, 1: nothing}
            assert watch.counts() == {**nothing, "drop": 50, "pass": 20}
            assert watch.missed == 0

    def test_a_closed_watch_counts_no_more_and_says_so(self, watch: VerdictWatch) -> None:
        watch.close()
        watch.close()
        with pytest.raises(InputError, match="closed"):
            watch.counts()


class TestQueues:
    """Frames arrive on two queues, by their hash."""

    @pytest.fixture
    def topology_spec(self) -> TopologySpec:
        return PAIR.with_links(queues=2)

    def test_what_comes_by_a_queue_that_the_watch_was_not_told_of_is_missed(
        self, program: Program, attachment: Attachment, topology: Topology
    ) -> None:
        gen, dut = topology["gen"], topology["dut"]
        with (
            VerdictWatch(program.fd, dut.inode, attachment.ifindex, 1) as one,
            VerdictWatch(program.fd, dut.inode, attachment.ifindex, 2) as both,
        ):
            for _ in range(64):  # each from a port of its own
                with gen.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.sendto(bytes(18), (DUT.ip, packet_for("drop")[UDP].dport))
            by_queue = both.by_queue()
            assert by_queue[0]["drop"] + by_queue[1]["drop"] == 64
            assert by_queue[1]["drop"] > 0
            assert (one.counts()["drop"], one.missed) == (by_queue[0]["drop"], by_queue[1]["drop"])
            assert both.missed == 0


@pytest.fixture
def without_btf(mixed: ProgramSpec, tmp_path: Path) -> ProgramSpec:
    """The same program as an author without clang's -g has it: its functions are not described."""
    target = tmp_path / "without.o"
    target.write_bytes(Path(mixed.object).read_bytes().replace(b".BTF.ext\0", b".not.ext\0"))
    return ProgramSpec(str(target))


class TestWithoutBtf:
    """A program that nobody can be attached to."""

    @pytest.fixture
    def program_spec(self, without_btf: ProgramSpec) -> ProgramSpec:
        return without_btf

    def test_the_account_is_made_without_and_says_why(
        self,
        pipeline: Pipeline,
        plan: TrafficPlan,
        traffic: Callable[..., TrafficReport],
        ledger: Callable[..., Ledger],
    ) -> None:
        made = ledger(traffic(plan))
        assert made.balanced
        assert made.hops[1].seen_by == "driver"
        assert "loaded without BTF: compile it with clang -g" in pipeline.unseen
