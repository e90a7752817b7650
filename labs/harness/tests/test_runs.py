# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from labs.harness import runs

MAKE_AN_ID = "from labs.harness import runs; print(runs.new_run_id(), flush=True); input()"


def test_an_id_lives_as_long_as_the_process_that_made_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE_AN_ID], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        run = owner.stdout.readline().strip()
        assert runs.run_is_alive(run)
        owner.kill()
        # not reaped yet: a zombie that nobody waits for must not keep its run alive
        assert _dies(owner.pid), "the owner was killed and still counts as living"
        assert not runs.run_is_alive(run)
    assert not runs.run_is_alive(run)


def _dies(pid: int) -> bool:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return runs.start_time(pid) is None


def test_ids_of_one_process_differ() -> None:
    ids = [runs.new_run_id() for _ in range(100)]
    assert len(set(ids)) == len(ids)
    assert all(runs.is_run_id(run) and runs.run_is_alive(run) for run in ids)


def test_another_process_with_the_same_pid_does_not_keep_a_run_alive() -> None:
    pid, start, number = runs.new_run_id().split("_")
    assert not runs.run_is_alive(f"{pid}_{'0' if start != '0' else '1'}_{number}")


@pytest.mark.parametrize("run", ["", "mine", "1_2", "1_2_3_4", "A_B_C", "../../etc", "zzzzzz_1_1", "1_2_3\n"])
def test_what_is_no_id_is_neither_an_id_nor_alive(run: str) -> None:
    assert not runs.is_run_id(run)
    assert not runs.run_is_alive(run)


def test_a_run_is_found_in_the_names_that_it_makes_and_in_no_others() -> None:
    run = runs.new_run_id()
    assert runs.run_of(runs.namespace_name(run, "gen")) == run
    assert runs.run_of(f"xl-{run}") == run
    for name in (run, f"xl-{run}-", f"xl-{run}.gen", f"my-xl-{run}-gen", "xl-gen", "xl-", f"XL-{run}-gen"):
        assert runs.run_of(name) is None, name


def test_names_are_short_and_fit_a_bpf_filesystem() -> None:
    run = runs.new_run_id()
    assert len(runs.namespace_name(run, "sink")) <= 32
    assert not set(run) & set("-./ ")
