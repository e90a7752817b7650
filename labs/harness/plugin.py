# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The pytest plugin: markers, honest skips and leak checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.harness.fixtures import (
    attachment,
    counters,
    forwarder,
    forwarder_spec,
    netns,
    pipeline,
    postmortem,
    program,
    program_spec,
    run_id,
    topology,
    topology_spec,
    veth_pair,
    xdp_mode,
    xskmap,
)
from labs.harness.fixtures_traffic import capture, closing, ledger, receiver, sink, traffic
from labs.harness.leaks import holdings, leaked_since
from labs.harness.postmortem import FAILED, POSTMORTEM, Postmortem
from labs.harness.requirements import why_not

# pytest finds fixtures as names of this module.
__all__ = [
    "attachment",
    "capture",
    "closing",
    "counters",
    "forwarder",
    "forwarder_spec",
    "ledger",
    "netns",
    "pipeline",
    "postmortem",
    "program",
    "program_spec",
    "receiver",
    "run_id",
    "sink",
    "topology",
    "topology_spec",
    "traffic",
    "veth_pair",
    "xdp_mode",
    "xskmap",
]

MARKERS = (
    "system: needs what a lab needs and is none: the harness itself, whole commands, signals, clean-up",
    "vm: boots guests; with `system`: needs QEMU and a kernel from the distribution, else skipped",
    "guest: with `lab`: needs what only a guest of `xdplab vm` has, else skipped",
    "lab: needs root and a kernel with AF_XDP; skipped with the reason elsewhere",
    "requires(feature, …): skipped with the reason where `xdplab features` says no",
    "leaves(text, …): descriptors, children, devices or mounts with this text may stay (say why beside it)",
    "loses(fate, frames): the closing account has this loss, as in loses('redirect/no_frame', 700)",
    "balance: of an account that must balance; `make bench-balance` runs each of these ten times in a row",
    "unbalanced(why): the closing account cannot balance, and is not looked at",
)


class LabRun:
    """What the plugin keeps of one session: how many labs were collected, and how many of them ran."""

    def __init__(self) -> None:
        self.selected = 0
        self.ran = 0


_labs = pytest.StashKey[LabRun]()


def is_lab(item: pytest.Item) -> bool:
    """Does this test need root and a kernel that can run labs?"""
    return any(item.get_closest_marker(name) for name in ("lab", "system"))


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[_labs] = LabRun()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the leak check of labs outermost, so that it looks when all else is gone."""
    for item in items:
        if is_lab(item):
            names = getattr(item, "fixturenames", None)
            if names is not None and "nothing_left_behind" in names:
                names.remove("nothing_left_behind")
                names.insert(0, "nothing_left_behind")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Counts the labs that were selected: those that `-m` or `-k` left out were not skipped."""
    labs = [item for item in session.items if is_lab(item) and not item.get_closest_marker("guest")]
    session.config.stash[_labs].selected = len(labs)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of each lab: skips it with the reason where it cannot run, fails it if it leaves anything."""
    if not is_lab(request.node):
        yield
        return
    _skip_unless_possible(request.node)
    request.config.stash[_labs].ran += 1
    before = holdings()
    yield
    allowed = [text for marker in request.node.iter_markers("leaves") for text in marker.args]
    left = [line for line in leaked_since(before) if not any(text in line for text in allowed)]
    if left:
        pytest.fail("left behind by this lab:\n  " + "\n  ".join(left), pytrace=False)


def _skip_unless_possible(item: pytest.Item) -> None:
    from xdp.features import feature

    reason = why_not()
    if reason:
        pytest.skip(reason)
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            found = feature(name)
            if not found.available:
                pytest.skip(f"{name}: {found.reason}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed lab tells what it was and what the kernel held, while all of it still stands."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's Result, untyped here
    found: Postmortem | None = item.stash.get(POSTMORTEM, None)
    if report.failed:
        item.stash[FAILED] = True
    if report.when == "call" and report.failed and found is not None:
        for title, text in found.sections():
            report.sections.append((title, text))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """On a kernel that can run the labs a session in which all of them were skipped has failed."""
    labs = session.config.stash[_labs]
    quiet = session.config.option.collectonly or exitstatus not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    )
    if labs.selected and not labs.ran and not quiet and not why_not():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(
                f"xdplab: all {labs.selected} labs were skipped, but this kernel can run labs", red=True
            )
