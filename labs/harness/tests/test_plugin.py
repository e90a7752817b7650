# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The pytest plugin as a user meets it: pytest runs small test files in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.all import UDP, rdpcap

from labs.harness.cleanup import clean_up
from labs.harness.netns import NetNs

TIMEOUT_S = 60


@dataclass(frozen=True)
class Session:
    """What a run of pytest said."""

    code: int
    said: str

    def of(self, test: str) -> str:
        """What was said of one test: its block in the failures or errors."""
        found = re.split(r"^_{3,} (?:ERROR at \w+ of )?(\w+) _{3,}$", self.said, flags=re.MULTILINE)
        return "\n".join(text for name, text in zip(found[1::2], found[2::2], strict=True) if name == test)


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., Session]:
    """Runs pytest on a file with this text: `session(text, before=["unshare", "-U"])`."""

    def run(text: str, *options: str, before: tuple[str, ...] = ()) -> Session:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_inner.py").write_text(
            "import pytest\npytestmark = pytest.mark.lab\n" + textwrap.dedent(text)
        )
        command = [*before, sys.executable, "-m", "pytest", "-p", "labs.harness.plugin", "-ra"]
        # plain: to rewrite all modules of ours again in each process would cost a second.
        command += ["-p", "no:cacheprovider", "--assert=plain", *options]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S)
        return Session(ran.returncode, ran.stdout + ran.stderr)

    return run


@pytest.fixture
def private() -> Iterator[NetNs]:
    """A namespace in which a test may leave devices."""
    with NetNs("private", "plugin") as namespace:
        yield namespace


LEAKS = """
    import functools, os, socket, subprocess
    import labs.harness.plugin as plugin
    from labs.harness.netns import NetNs
    from labs.harness.runs import new_run_id

    plugin.leaked_since = functools.partial(plugin.leaked_since, patience_s=0.1)  # these leaks do not end

    @pytest.fixture(autouse=True, scope="session")
    def all_goes_at_the_end():
        yield
        child.kill()
        child.wait()

    def test_descriptor():
        os.open("/dev/null", os.O_RDONLY)

    def test_socket():
        global kept
        kept = socket.socket()

    def test_child():
        global child
        child = subprocess.Popen(["sleep", "60"])

    def test_namespace():
        NetNs("gen", new_run_id()).pin()

    def test_device():
        subprocess.run(["ip", "link", "add", "left0", "type", "veth", "peer", "name", "left1"], check=True)

    def test_wrong_namespace(netns):
        inside = netns("gen").entered()
        inside.__enter__()
        global held
        held = inside

    def test_program():
        from xdp.program import Program, ProgramSpec
        global program
        program = Program.load(ProgramSpec("xdp_pass"))

    def test_allowed():
        os.open("/dev/zero", os.O_RDONLY)
    test_allowed = pytest.mark.leaves("/dev/zero")(test_allowed)

    def test_clean(netns):
        with netns("gen").entered():
            pass
"""


@pytest.mark.system
def test_each_leak_fails_its_test_and_is_named(session: Callable[..., Session], private: NetNs) -> None:
    try:
        with private.entered():
            done = session(LEAKS)
    finally:
        pins = set(re.findall(r"namespaces: xl-(\w+)-gen", done.said))
        for run in pins:
            clean_up(run=run)
    assert done.code == 1, done.said
    # Each test itself passes; its teardown finds the leak.
    assert re.search("9 passed,.* 7 errors", done.said), done.said
    for test, what in (
        ("test_descriptor", r"files: \d+ → /dev/null"),
        ("test_socket", r"files: \d+ → socket:\[\d+\]"),
        ("test_child", r"children: \d+ sleep"),
        ("test_namespace", r"namespaces: xl-\w+-gen"),
        ("test_device", r"devices: left0 \(unless another.*\n  devices: left1 "),
        ("test_wrong_namespace", r"thread left in net:\[\d+\], was in net:\[\d+\]"),
        ("test_program", r"files: \d+ → anon_inode:bpf-prog prog_id \d+"),
    ):
        assert re.search("left behind by this lab:\n(  .*\n)*  " + what, done.of(test)), done.of(test)
    assert len(pins) == 1


FAILING = """
    import xdp.features
    from scapy.all import IP, UDP, Ether
    from labs.harness.topology import PAIR
    from labs.harness.traffic import TrafficPlan

    GEN, DUT = PAIR.end("gen0"), PAIR.end("dut0")
    PACKET = Ether(src=GEN.mac, dst=DUT.mac)/IP(src=GEN.ip, dst=DUT.ip)/UDP(sport=7, dport=4242)/bytes(18)

    @pytest.mark.parametrize("with_sink", ["a/b"])
    def test_fails(traffic, ledger, receiver, with_sink):
        replies = receiver("gen", 7)
        sent = traffic(TrafficPlan(PACKET, count=50, sequence=True))
        ledger(sent, replies.drain(50)).check()
        assert sent.sent == 51

    def test_passes(pipeline, traffic):
        traffic(TrafficPlan(PACKET, count=50))

    def refuse():
        raise OSError("no luck")
    xdp.features.PROBES["dice"] = ("a feature that is nowhere", refuse)

    @pytest.mark.requires("btf", "dice")
    def test_is_skipped(pipeline):
        pass

    def test_fails_with_the_program_closed(pipeline):
        pipeline.program.close()
        assert not "this"
"""


@pytest.mark.system
def test_a_failed_lab_tells_all_and_keeps_its_packets_and_a_skipped_one_its_reason(
    session: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDPLAB_RESULTS", str(tmp_path / "results"))
    done = session(FAILING)
    assert done.code == 1, done.said
    assert "2 failed, 1 passed, 1 skipped" in done.said
    assert "dice: no luck" in done.said  # why it was skipped
    failed, closed = done.said.split("___ test_fails_with_the_program_closed ___")
    for title, text in (
        ("spec", '"object": "redirect_udp"'),
        ("XSKMAP and rings", "1 of 64 slots occupied"),
        ("XSKMAP and rings", "2048/2048"),
        ("program counters", '"redirected": 50'),
        ("forwarder counters", '"tx_completed": 50'),
        ("ledger", r"received +50"),
    ):
        assert re.search(rf"^-+ {title} -+$", failed, re.MULTILINE), title
        assert re.search(text, failed), text
    kept = re.findall(r"^(\d+) kept in (.*\.pcap)$", done.said, re.MULTILINE)
    assert [count for count, _ in kept] == ["100", "0"]
    packets = rdpcap(kept[0][1])
    assert [packet[UDP].dport for packet in packets].count(4242) == 50
    assert [packet[UDP].sport for packet in packets].count(4242) == 50
    assert "cannot be told: " in closed  # a program that the test closed hides nothing of the rest
    assert re.search(r"^-+ packets of gen0 -+$", closed, re.MULTILINE)
    assert len(list((tmp_path / "results" / "failed").iterdir())) == 2, "the passed test kept its packets"


SKIPPED = """
    @pytest.mark.skip(reason="not today")
    def test_one():
        pass

    @pytest.mark.skip
    def test_two():
        pass
"""


@pytest.mark.system
def test_a_session_in_which_all_labs_were_skipped_fails_where_labs_can_run(
    session: Callable[..., Session],
) -> None:
    done = session(SKIPPED)
    assert done.code == 1, done.said
    assert "xdplab: all 2 labs were skipped, but this kernel can run labs" in done.said
    assert "not today" in done.said


def test_labs_that_nobody_asked_for_were_not_skipped(session: Callable[..., Session]) -> None:
    assert session(SKIPPED, "-m", "not lab").code == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.system
def test_without_privilege_labs_are_skipped_with_the_reason_and_the_session_passes(
    session: Callable[..., Session],
) -> None:
    """In a user namespace of its own a process is nobody, whoever runs the tests."""
    done = session("def test_one(pipeline):\n    pass\n", before=("unshare", "--user"))
    assert done.code == 0, done.said
    assert "1 skipped" in done.said
    assert "labs cannot run here: root: you are not root: use sudo" in done.said


CLOSING = """
    from labs.harness.packets import datagram
    from labs.harness.traffic import Traffic, TrafficPlan

    PLAN = TrafficPlan(datagram(), count=50)

    def test_has_no_pipeline(traffic):
        traffic(PLAN)

    def test_asks_for_no_account(pipeline, traffic, receiver):
        replies = receiver("gen", 40000)
        traffic(PLAN)
        assert replies.drain(50).count == 50

    def test_sends_behind_the_accounts_back(pipeline, traffic, receiver):
        replies = receiver("gen", 40000)
        Traffic(PLAN).send(pipeline.topology["gen"], "gen0")
        assert replies.drain(50).count == 50

    def test_makes_an_account_that_does_not_balance(pipeline, traffic, receiver, ledger):
        replies = receiver("gen", 40000)
        ledger(traffic(PLAN).sent + 1, replies.drain(50))

    @pytest.mark.unbalanced("on purpose")
    def test_says_that_it_cannot_balance(pipeline, traffic, receiver, ledger):
        replies = receiver("gen", 40000)
        ledger(traffic(PLAN).sent + 1, replies.drain(50))

    @pytest.mark.loses("forwarder/dropped", 50)
    def test_states_a_loss_that_is_none(forwarder, traffic, receiver):  # a pipeline all the same
        replies = receiver("gen", 40000)
        traffic(PLAN)
        replies.drain(50)

    @pytest.mark.loses("receiver/received", 50)
    def test_states_what_happened(pipeline, traffic, receiver):
        replies = receiver("gen", 40000)
        traffic(PLAN)
        replies.drain(50)
"""


@pytest.mark.system
def test_every_lab_ends_with_an_account_of_what_it_sent(session: Callable[..., Session]) -> None:
    done = session(CLOSING)
    assert re.search(r"\b7 passed.* 3 errors", done.said), done.said
    behind = done.of("test_sends_behind_the_accounts_back")
    assert "the account at the end of this lab: Balance(50 frames too many at sender)" in behind
    assert "1 frame unaccounted for at sender" in done.of("test_makes_an_account_that_does_not_balance")
    assert "forwarder/dropped: stated 50, counted 0" in done.of("test_states_a_loss_that_is_none")
