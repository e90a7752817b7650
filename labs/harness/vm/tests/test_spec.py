# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A machine is checked when it is made, and QEMU is told exactly that."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from labs.harness.vm import cli, qemu
from labs.harness.vm.kernels import Kernel
from labs.harness.vm.spec import NicSpec, Outcome, VmSpec
from xdp.pyxdp.errors import InputError

KERNEL = Kernel("6.12.1-amd64", Path("/k/vmlinuz"), None)
FDS = {"console": 10, "control": 11, "stdout": 12, "stderr": 13}


def words(spec: VmSpec, *, accel: str = "tcg", results: Path | None = None) -> list[str]:
    return qemu.command(spec, KERNEL, accel=accel, initramfs="/proc/self/fd/9", fds=FDS, results=results)


def after(argv: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(argv) if word == option]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cpus": 0}, "--cpus 0: give 1 to 64"),
        ({"memory_mib": 100}, "--memory 100"),
        ({"timeout_s": 0.1}, "--timeout 0.1"),
        ({"beat_s": 1e9}, "--hang"),
        ({"accel": "xen"}, "--accel xen: give auto, kvm, tcg"),
        ({"nics": (NicSpec(),) * 9}, "9 network cards: give at most 8"),
    ],
)
def test_what_no_machine_can_be_is_said_in_one_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VmSpec(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtl8139", "no network card is called 'rtl8139'; there are virtio, igb"),
        ("virtio,fast", "there is no 'fast'"),
        ("virtio,queues=two", "there is no 'queues=two'"),
        ("virtio,queues=0", "--nic virtio,queues=0: give 1 to 16 queues"),
        ("virtio,queues=17", "give 1 to 16 queues"),
        ("igb,iommu", "--nic igb,iommu: only virtio has this"),
        ("igb,queues=2", "--nic igb,queues=2: only virtio has this"),
    ],
)
def test_a_card_that_does_not_exist_is_answered_with_those_that_do(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        NicSpec.parse(text)


def test_a_card_is_written_as_it_is_read() -> None:
    for text in ("virtio", "virtio,iommu", "virtio,queues=4", "virtio,iommu,queues=2", "igb", "e1000e"):
        assert str(NicSpec.parse(text)) == text


def test_all_cards_are_on_one_hub_and_only_the_one_asked_takes_dma_addresses() -> None:
    argv = words(VmSpec(nics=(NicSpec(), NicSpec(iommu=True), NicSpec("igb"))))
    assert after(argv, "-netdev") == [f"hubport,id=net{place},hubid=0" for place in range(3)]
    cards = [device for device in after(argv, "-device") if "netdev=" in device]
    assert [card.split(",")[0] for card in cards] == ["virtio-net-pci", "virtio-net-pci", "igb"]
    assert ["iommu_platform=on" in card for card in cards] == [False, True, False]
    assert len({card.split("mac=")[1].split(",")[0] for card in cards}) == 3


def test_a_tap_has_a_descriptor_for_each_queue_and_the_card_an_interrupt_for_each_way() -> None:
    spec = VmSpec(nics=(NicSpec(), NicSpec(queues=3)))
    argv = qemu.command(
        spec,
        KERNEL,
        accel="tcg",
        initramfs="/proc/self/fd/9",
        fds=FDS,
        results=None,
        taps=[[20], [21, 22, 23]],
    )
    assert after(argv, "-netdev") == ["tap,id=net0,vhost=off,fds=20", "tap,id=net1,vhost=off,fds=21:22:23"]
    one, three = (device for device in after(argv, "-device") if "netdev=" in device)
    assert "mq=on" not in one
    assert three.endswith(",mq=on,vectors=8")


def test_the_host_is_shared_for_reading_and_only_the_results_for_writing() -> None:
    root, results = after(words(VmSpec(), results=Path("/a,b/results")), "-fsdev")
    assert "path=/," in root
    assert "readonly=on" in root
    assert "path=/a,,b/results" in results  # a comma ends an option of QEMU's
    assert "readonly" not in results
    assert len(after(words(VmSpec()), "-fsdev")) == 1


def test_no_network_of_the_host_and_no_defaults_reach_the_guest() -> None:
    argv = words(VmSpec())
    assert "-nodefaults" in argv
    assert "-no-reboot" in argv
    assert after(argv, "-netdev") == []


def test_the_processor_is_the_hosts_under_kvm_and_all_that_can_be_emulated_else() -> None:
    assert after(words(VmSpec(), accel="kvm"), "-cpu") == ["host"]
    assert after(words(VmSpec()), "-cpu") == ["max"]
    assert after(words(VmSpec(cpu="qemu64")), "-cpu") == ["qemu64"]


def test_outcomes_are_told_apart_from_each_other_and_from_the_shells() -> None:
    codes = [outcome.value for outcome in Outcome]
    assert len(set(codes)) == len(codes)
    assert Outcome.TIME_LIMIT.value == 124
    assert max(codes) < 126
    for outcome in Outcome:
        if outcome is not Outcome.ENDED:
            assert f"  {outcome.value} " in cli.RUN_EPILOG or f" {outcome.value} " in cli.RUN_EPILOG


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run"], "what shall the guest run"),
        (["run", "--kernel", "newest", "--"], "what shall the guest run"),
        (["run", "--env", "nothing", "--", "true"], "write it as NAME=VALUE"),
        (["run", "--kernel", "six", "--", "true"], "give a series like 6.12"),
        (["run", "--kernel", "/etc/hostname", "--", "true"], "no bzImage"),
        (["run", "--kernel", "/nowhere/vmlinuz", "--", "true"], "No such file"),
        (["boot"], "there is no xdplab vm boot"),
    ],
)
def test_bad_input_is_one_line(argv: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cli.main(argv)
