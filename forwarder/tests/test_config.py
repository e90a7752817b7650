# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A file says the same as options do, under the same names; every mistake in it is told with its line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from forwarder.cli import main, make_parser, parse
from forwarder.config import format_config
from forwarder.options import FIELDS, GROUPS, KINDS, OPTIONS
from forwarder.spec import ForwarderSpec

from .test_spec import specs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "forward.yaml"


def test_each_field_of_the_spec_has_one_option_and_one_key() -> None:
    fields = [option.field for options in GROUPS.values() for option in options]
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(ForwarderSpec)), (
        "a field of ForwarderSpec needs a line in forwarder/options.py"
    )
    assert len(OPTIONS) == len(fields)
    assert {option.kind for option in OPTIONS.values()} <= set(KINDS)
    known = make_parser()._option_string_actions
    for option in OPTIONS.values():
        switch = f"--no-{option.key}" if FIELDS[option.field].default is True else f"--{option.key}"
        assert known[switch].help, f"{switch} is not explained"


@given(specs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_printed_is_read_back(file: Path, spec: ForwarderSpec) -> None:
    file.write_text(format_config(spec))
    assert parse(["--config", str(file)])[0] == spec


def test_print_config_writes_what_is_in_force(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("interface: dut0\nrx-size: 512\n")
    assert main(["--config", str(file), "--rx-size", "1024", "-q", "1,2", "--print-config"]) == 0
    text = capsys.readouterr().out
    assert "interface: dut0\n" in text
    assert "rx-size: 1024\n" in text
    assert "queue: [1, 2]\n" in text
    file.write_text(text)
    assert parse(["--config", str(file)])[0] == ForwarderSpec("dut0", rx_size=1024, queues=(1, 2))


def test_options_overrule_the_file_also_switches(file: Path) -> None:
    file.write_text("interface: dut0\nneed-wakeup: false\nhugepages: true\nbinding: copy\nqueue: [3, 4]\n")
    argv = ["--config", str(file)]
    expected = ForwarderSpec("dut0", need_wakeup=False, hugepages=True, binding="copy", queues=(3, 4))
    assert parse(argv)[0] == expected
    argv += ["--need-wakeup", "--no-hugepages", "--binding", "auto", "-q", "0", "-i", "dut1"]
    assert parse(argv)[0] == ForwarderSpec("dut1")


def test_addresses_are_taken_as_they_are_written(file: Path) -> None:
    """YAML 1.1 reads the first one as a number to the base of 60."""
    file.write_text(
        "interface: 10\nset-src-mac: 12:34:56:00:00:01\nset-dst-mac: '02:00:00:00:00:02'\n"
        "respond-ip: 10.0.0.1\ninterval: 2\n"
    )
    spec = parse(["--config", str(file)])[0]
    assert (spec.interface, spec.set_src_mac) == ("10", "12:34:56:00:00:01")
    assert spec.set_dst_mac == "02:00:00:00:00:02"
    assert spec.respond_ip == ("10.0.0.1",)
    assert spec.interval == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rx_size: 512", ":1: unknown key 'rx_size'; did you mean 'rx-size'?"),
        ("queues: 1", ":1: unknown key 'queues'; did you mean 'queue'?"),
        (
            "action: drop\n\nno-need-wakeup: true",
            ":3: unknown key 'no-need-wakeup'; did you mean 'need-wakeup'?",
        ),
        ("zzz: 1", ":1: unknown key 'zzz'; see --help for them all"),
        ("ready-fd: 3", ":1: ready-fd belongs to one run: give --ready-fd on the command line"),
        ("rx-size: many", ":1: rx-size must be a whole number, not 'many'"),
        ("rx-size: 1.5", ":1: rx-size must be a whole number, not '1.5'"),
        ("rx-size: [1, 2]", ":1: rx-size must be a whole number, not a list"),
        ("rx-size:", ":1: rx-size must be a whole number, not nothing"),
        ("interval: soon", ":1: interval must be a number, not 'soon'"),
        ("hugepages: 1", ":1: hugepages must be true or false, not '1'"),
        ("xskmap: {a: 1}", ":1: xskmap must be text, not a mapping"),
        ("xskmap: !!python/object:os.system {}", ":1: xskmap must be text, not a mapping"),
        ("xskmap: !!python/name:os.system x", ":1: xskmap must be text, not 'x'"),
        ("rx-size: !!int x", ":1: rx-size must be a whole number, not 'x'"),
        ("queue: [0, one]", ":1: queue must be a whole number, or a list of such, not 'one'"),
        ("action: eat", ":1: action: 'eat'; choose one of drop"),
        ("out: a\nrx-size: 1000", ":2: --rx-size 1000: choose a power of two"),
        ("out: a\nqueue: [1, 1]", ":2: --queue 1,1: name each queue once"),
        ("out: a\nout: b", "forward.yaml:1 already"),
        ("- out", ":1: write lines like `interface: eth1`"),
        ("out: [", ":1: no YAML: "),
        ("out: a\n---\nout: b", ":2: no YAML: "),
        ("out: \0", ":1: no YAML: "),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file.write_text(text)
    assert main(["--config", str(file), "-i", "lo"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"xdplab: {file}:")
    assert error.count("\n") == 1


def test_a_value_that_was_overruled_is_not_blamed_on_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("rx-size: 512")
    assert main(["--config", str(file), "-i", "lo", "--rx-size", "1000"]) == 2
    assert capsys.readouterr().err.startswith("xdplab: --rx-size 1000")


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "binary"])
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    assert main(["--config", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith(f"xdplab: --config {tmp_path / name}: ")


def test_an_empty_file_says_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert parse(["--config", str(file), "-i", "lo"])[0] == ForwarderSpec("lo")
