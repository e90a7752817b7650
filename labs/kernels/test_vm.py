# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A guest runs a command as if it were here, and however it ends, that is told, and nothing is left."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.harness.vm import kernels, qemu, tools
from labs.pipeline.command import Command, comes_true, finished, started
from xdp.pyxdp.errors import InputError

pytestmark = [pytest.mark.system, pytest.mark.vm]

SERIES = ("6.12", kernels.NEWEST)  # a distribution that has no 6.12 has another
# With emulation, as KVM may be missing, and a guest on both is two guests to wait for.
RUN = ("--accel", "tcg", "--cpus", "1", "--memory", "768")
QUEUES = ("--nic", "virtio", "--nic", "virtio,queues=2")
HANG = """
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
for one in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do echo 0 >$one; done
echo hanging
exec chrt -f 99 sh -c 'while :; do :; done'
"""


@pytest.fixture(scope="module", autouse=True)
def kernel() -> Iterator[kernels.Kernel]:
    try:
        tools.need(qemu.PROGRAM)
        tools.static_busybox()
        yield to_be_had()
    except InputError as error:
        pytest.skip(str(error))


@functools.cache
def to_be_had() -> kernels.Kernel:
    *others, last = SERIES
    for name in others:
        with contextlib.suppress(InputError):
            return kernels.find(name)
    return kernels.find(last)


def run_words() -> tuple[str, ...]:
    return ("vm", "run", "--kernel", kernels.series_of(to_be_had().release), *RUN)


def result(tmp_path: Path) -> dict[str, object]:
    (folder,) = (tmp_path / "results").glob("*-vm-*")
    assert (folder / "console.txt").read_text()
    return dict(json.loads((folder / "vm.json").read_text()))


def taps(command: Command) -> set[str]:
    """The TAPs that processes of this run hold: with the last of these they go, and their namespace, too."""
    found: set[str] = set()
    for process in (name.partition(" ")[2] for name in command.left() if name.startswith("process ")):
        for info in Path(f"/proc/{process}/fdinfo").glob("*"):
            with contextlib.suppress(OSError):
                found.update(re.findall(r"iff:\t(card\d+)", info.read_text()))
    return found


def in_guest(*argv: str, results: Path) -> Command:
    return finished(*run_words(), *argv, results=results, timeout_s=200)


def test_a_command_runs_under_the_other_kernel_with_our_files_and_its_exit_code_is_ours(
    tmp_path: Path, kernel: kernels.Kernel
) -> None:
    script = (
        "uname -r; pwd; echo wrong >&2; echo kept >$XDPLAB_RESULTS/from-guest; "
        "echo lost >from-guest; python -c 'import sys; print(sys.executable)'; exit 7"
    )
    command = in_guest("--", "sh", "-c", script, results=tmp_path / "results")
    assert command.process.returncode == 7
    assert command.out.splitlines()[:2] == [kernel.release, str(Path.cwd())]
    assert command.out.splitlines()[2].startswith(str(Path.cwd() / ".venv"))
    assert command.err.splitlines()[0] == "wrong"
    assert "exit code 7" in command.err
    assert (tmp_path / "results/from-guest").read_text() == "kept\n"
    assert not Path("from-guest").exists()  # all else that a guest writes stays in the guest
    assert result(tmp_path)["outcome"] == "ended"
    assert command.leaves_nothing(1)


def test_a_panic_is_reported_with_the_consoles_end(tmp_path: Path) -> None:
    command = in_guest("--", "sh", "-c", "echo c >/proc/sysrq-trigger", results=tmp_path / "results")
    assert command.process.returncode == 122
    assert "Kernel panic - not syncing: sysrq triggered crash" in command.err
    assert "sysrq_handle_crash" in command.err  # its trace, from the console
    assert result(tmp_path)["outcome"] == "panic"
    assert command.leaves_nothing(1)


def test_a_guest_that_hangs_is_told_from_a_command_that_takes_its_time(tmp_path: Path) -> None:
    command = in_guest("--hang", "25", "--", "sh", "-c", HANG, results=tmp_path / "results")
    assert command.process.returncode == 123
    assert command.out == "hanging\n"
    assert "the guest hangs: no sign of life for 25 s" in command.err
    assert command.leaves_nothing(1)


def test_a_command_that_takes_longer_than_it_may_is_ended(tmp_path: Path) -> None:
    command = in_guest("--timeout", "20", "--", "sleep", "600", results=tmp_path / "results")
    assert command.process.returncode == 124
    assert "the command had not ended after 20 s" in command.err
    assert command.leaves_nothing(1)


def test_a_guest_that_never_reaches_the_command_has_not_booted(tmp_path: Path) -> None:
    command = in_guest("--boot-timeout", "1", "--", "true", results=tmp_path / "results")
    assert command.process.returncode == 121
    assert "the guest had not booted after 1 s" in command.err
    assert command.leaves_nothing(1)


@pytest.mark.parametrize("cards", [(), QUEUES], ids=["no-cards", "queues"])
def test_ctrl_c_ends_the_guest_at_once(tmp_path: Path, cards: tuple[str, ...]) -> None:
    script = ("--", "sh", "-c", "echo up; sleep 600")
    with started(*run_words(), *cards, *script, results=tmp_path / "results") as command:
        command.read_until("up")
        assert command.left()
        assert taps(command) == ({"card0", "card1"} if cards else set())
        began = time.monotonic()
        command.process.send_signal(signal.SIGINT)
        assert command.finish() == 130
        assert time.monotonic() - began < 5
    assert command.err.endswith("xdplab: interrupted; everything was removed\n")
    assert command.leaves_nothing(1)
    assert not (tmp_path / "results").exists()


def test_not_even_sigkill_leaves_a_guest(tmp_path: Path) -> None:
    with started(*run_words(), *QUEUES, "--", "sleep", "600", results=tmp_path / "results") as command:
        assert comes_true(lambda: taps(command) == {"card0", "card1"}, 20)
        command.process.kill()
        command.finish()
    assert command.leaves_nothing(5)


def test_cards_with_several_queues_hear_each_other(tmp_path: Path) -> None:
    # Sent until it is heard: a card that is up does not send at once.
    script = (
        "grep -c virtio4-input /proc/interrupts; ip link set eth0 up; ip link set eth1 up; "
        "exec timeout 100 python -c '\n"
        "import socket\n"
        "a, b = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(2))\n"
        'a.bind(("eth0", 0)); b.bind(("eth1", 0x88b5)); b.settimeout(1)\n'
        "while True:\n"
        '    a.send(b"\\xff" * 6 + b"\\2" * 6 + b"\\x88\\xb5" + b"heard" * 10)\n'
        "    try:\n"
        "        print(b.recv(100)[14:19].decode())\n"
        "        break\n"
        "    except TimeoutError:\n"
        "        pass\n"
        "'"
    )
    command = in_guest(*QUEUES, "--", "sh", "-c", script, results=tmp_path / "results")
    assert command.out.split() == ["2", "heard"], command.err
    assert command.process.returncode == 0
