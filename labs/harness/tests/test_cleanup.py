# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.harness import cleanup, leftovers, runs

REPOSITORY = Path(__file__).parents[3]
SLEEPER = "import signal; print('ready', flush=True); signal.pause()"
DEAF_SLEEPER = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
MAKE_AN_ID = "from labs.harness import runs; print(runs.new_run_id())"


@pytest.fixture
def dead_run() -> str:
    """The id of a run whose owner has ended."""
    made = subprocess.run([sys.executable, "-c", MAKE_AN_ID], capture_output=True, text=True, check=True)
    return made.stdout.strip()


@contextlib.contextmanager
def sleeper(run: str | None, code: str = SLEEPER) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for ever, marked with a run or not; killed and reaped at the end."""
    environment = {name: value for name, value in os.environ.items() if name != runs.MARK}
    if run is not None:
        environment[runs.MARK] = run
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Path]:
    """A namespace named the way iproute2 does it; gone at the end."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    path = runs.NAMESPACE_DIRECTORY / name
    try:
        yield path
    finally:
        if path.exists():
            subprocess.run(["ip", "netns", "delete", name], check=True)


def names(found: list[dict[str, str]], kind: str) -> set[str]:
    return {leftover["name"] for leftover in found if leftover["kind"] == kind}


# --- no privilege needed ---


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--run", "xl-mine"], ["--run", ""], ["extra"]])
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cleanup.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("xdplab: ")
    assert err.count("\n") == 1


def test_a_user_without_privilege_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cleanup.main([]) == 2
    assert "needs root" in capsys.readouterr().err


def test_it_needs_nothing_but_the_standard_library() -> None:
    # -S: without site-packages, as on a machine where .venv is gone
    command = [sys.executable, "-S", "-B", "-m", "labs.harness.cleanup", "--help"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_only_processes_with_the_mark_of_a_run_are_found(dead_run: str) -> None:
    with sleeper(dead_run) as marked, sleeper(None) as unmarked, sleeper("mine") as other:
        assert leftovers.mark_of(marked.pid) == dead_run
        found = {leftover.name for leftover in leftovers.find() if leftover.kind == "process"}
        assert str(marked.pid) in found
        assert not {str(unmarked.pid), str(other.pid)} & found


def test_it_does_not_find_itself_nor_whoever_called_it(dead_run: str) -> None:
    code = (
        f"from labs.harness import leftovers; print([x for x in leftovers.find() if x.run == '{dead_run}'])"
    )
    shell = f'"{sys.executable}" -c "{code}"; exit $?'  # the second command keeps the shell from exec
    ran = subprocess.run(
        ["sh", "-c", shell],
        env={**os.environ, runs.MARK: dead_run},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[]\n"


# --- with root, for real ---


@pytest.mark.system
def test_what_a_dead_run_left_goes_and_bystanders_stay(
    dead_run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    living_run = runs.new_run_id()
    with contextlib.ExitStack() as stack:
        left = stack.enter_context(namespace(runs.namespace_name(dead_run, "gen")))
        living = stack.enter_context(namespace(runs.namespace_name(living_run, "gen")))
        # a name that begins like ours, and one that only holds ours
        bystanders = [
            stack.enter_context(namespace(name)) for name in ("xl-bystander-gen", f"my-xl-{dead_run}-gen")
        ]
        marked = stack.enter_context(sleeper(dead_run))
        busy = stack.enter_context(sleeper(living_run))
        unmarked = stack.enter_context(sleeper(None))

        assert cleanup.main(["--dry-run", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert left.name in names(told["would_remove"], "namespace")
        assert str(marked.pid) in names(told["would_remove"], "process")
        assert living.name in names(told["in_use"], "namespace")
        assert str(busy.pid) in names(told["in_use"], "process")
        assert not {path.name for path in bystanders} & names(told["would_remove"], "namespace")
        assert left.exists(), "--dry-run removed something"
        assert marked.poll() is None, "--dry-run killed something"

        assert cleanup.main(["--json", "--run", dead_run]) == 0
        told = json.loads(capsys.readouterr().out)
        assert names(told["removed"], "namespace") == {left.name}
        assert names(told["removed"], "process") == {str(marked.pid)}
        assert marked.wait(timeout=5) == -signal.SIGTERM
        assert not left.exists()
        assert all(path.exists() for path in (living, *bystanders))
        assert (busy.poll(), unmarked.poll()) == (None, None)

        assert cleanup.main(["--run", living_run]) == 0
        assert "still lives" in capsys.readouterr().out
        assert living.exists()
        assert busy.poll() is None

        assert cleanup.main(["--all", "--run", living_run]) == 0
        assert not living.exists()
        assert busy.wait(timeout=5) == -signal.SIGTERM
        assert all(path.exists() for path in bystanders)
        assert unmarked.poll() is None


@pytest.mark.system
def test_a_second_time_there_is_nothing_to_do(dead_run: str, capsys: pytest.CaptureFixture[str]) -> None:
    with namespace(runs.namespace_name(dead_run, "dut")):
        assert cleanup.main(["--run", dead_run]) == 0
        capsys.readouterr()
        assert cleanup.main(["--run", dead_run]) == 0
        assert capsys.readouterr().out == "nothing was left\n"


@pytest.mark.system
def test_a_process_that_does_not_listen_is_killed(dead_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "TERM_SECONDS", 0.2)
    with sleeper(dead_run, DEAF_SLEEPER) as deaf:
        assert cleanup.main(["--run", dead_run]) == 0
        assert deaf.wait(timeout=5) == -signal.SIGKILL


@pytest.mark.system
def test_a_process_that_changed_hands_is_not_ended(dead_run: str) -> None:
    # found as one run's, but by the time of the signal the pid belongs to another process
    with sleeper(None) as stranger:
        stale = leftovers.Leftover("process", str(stranger.pid), dead_run)
        assert cleanup._end([stale]) == {}
        pidfd = os.pidfd_open(stranger.pid)
        try:
            assert select.select([pidfd], [], [], 0.2) == ([], [], [])
        finally:
            os.close(pidfd)


@pytest.mark.system
def test_a_name_whose_namespace_is_gone_goes_too(dead_run: str) -> None:
    # what is left when a run is killed between making the file and mounting the namespace on it
    runs.NAMESPACE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = runs.NAMESPACE_DIRECTORY / runs.namespace_name(dead_run, "gen")
    path.touch()
    try:
        assert cleanup.main(["--run", dead_run]) == 0
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


KEEP_AND_DIE = """
import os, signal
from labs.harness.process import Process
from labs.harness.topology import PAIR, Topology
topology = Topology.build(PAIR, keep=True)
process = Process(["sleep", "60"], run=topology.run, namespace=topology["dut"], keep=True)
print(topology.run, process.pid, *topology.kept, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.system
def test_nothing_is_left_of_a_kept_run_that_was_killed(capsys: pytest.CaptureFixture[str]) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KEEP_AND_DIE], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run, pid, *kept = killed.stdout.split()
    assert len(kept) == 2
    assert all(Path(path).exists() for path in kept)
    assert leftovers.mark_of(int(pid)) == run

    assert cleanup.main(["--json", "--run", run]) == 0
    told = json.loads(capsys.readouterr().out)
    assert names(told["removed"], "namespace") == {Path(path).name for path in kept}
    assert names(told["removed"], "process") == {pid}
    assert not any(Path(path).exists() for path in kept)
    assert runs.start_time(int(pid)) is None


# In a mount namespace of its own, where a bpffs can be mounted without anyone else seeing it.
PINS_AND_MOUNTS = """
import ctypes, json, os, pathlib, sys
from labs.harness import cleanup, leftovers, runs
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, point, kind, flags=0):
    if libc.mount(source.encode(), str(point).encode(), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(point))
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
dead, scratch = sys.argv[1], pathlib.Path(sys.argv[2])
living = runs.new_run_id()
mount("none", "/", "none", MS_REC | MS_PRIVATE)
mount("bpf", "/sys/fs/bpf", "bpf")
for run in (dead, living, "mine"):
    (runs.PIN_DIRECTORY / run / "maps").mkdir(parents=True)
(runs.PIN_DIRECTORY / dead / "link").symlink_to("/etc")
(pathlib.Path("/sys/fs/bpf") / dead).mkdir()
for name, source in (("a", f"xl-{dead}"), ("b", f"xl-{living}"), ("c", "tmpfs"), (f"xl-{dead}-d", "tmpfs")):
    (scratch / name).mkdir()
    mount(source, scratch / name, "tmpfs")
found = [pathlib.Path(thing.name).name for thing in leftovers.find() if thing.kind in ("pin", "mount")]
code = cleanup.main(["--run", dead])
json.dump({
    "code": code,
    "found": sorted(found),
    "pins": sorted(path.name for path in runs.PIN_DIRECTORY.iterdir()),
    "elsewhere": (pathlib.Path("/sys/fs/bpf") / dead).is_dir(),
    "mounts": sorted(path.name for path in scratch.iterdir() if path.is_mount()),
    "etc": pathlib.Path("/etc").is_dir(),
    "living": living,
}, sys.stderr)
"""


@pytest.mark.system
def test_pins_and_mounts_of_a_dead_run_go_and_all_others_stay(dead_run: str, tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", PINS_AND_MOUNTS, dead_run, str(tmp_path)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    saw = json.loads(ran.stderr)
    assert saw["code"] == 0
    assert saw["found"] == sorted([dead_run, saw["living"], "a", "b", f"xl-{dead_run}-d"])
    assert saw["pins"] == sorted([saw["living"], "mine"])
    assert saw["elsewhere"], "a pin outside of our directory was removed"
    assert saw["mounts"] == ["b", "c"]
    assert saw["etc"]


@pytest.mark.system
def test_without_a_bpf_filesystem_nothing_is_looked_for_below_its_directory(dead_run: str) -> None:
    code = (
        "import ctypes, pathlib, sys; from labs.harness import leftovers, runs\n"
        "libc = ctypes.CDLL(None)\n"
        "assert libc.mount(b'none', b'/', b'none', 0x4000 | 1 << 18, None) == 0\n"
        "while libc.umount2(b'/sys/fs/bpf', 2) == 0: pass\n"
        "assert libc.mount(b'tmpfs', b'/sys/fs/bpf', b'tmpfs', 0, None) == 0\n"
        "(runs.PIN_DIRECTORY / sys.argv[1]).mkdir(parents=True)\n"
        "sys.exit(any(leftover.kind == 'pin' for leftover in leftovers.find()))\n"
    )
    ran = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", code, dead_run],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
