# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Namespaces: owned by a descriptor, entered and left by one thread, gone with their owner."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from labs.harness import netns
from labs.harness.netns import LostNamespaceError, NetNs, remove_pin
from labs.harness.runs import NAMESPACE_DIRECTORY, new_run_id
from xdp import netns as entering
from xdp.pyxdp.errors import InputError, KernelError

RUN = new_run_id()  # of a form that clean-up knows, should these tests be killed


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def current_inode() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


@pytest.mark.parametrize("role", ["", "Gen", "a/b", "x" * 16, "../x"])
def test_a_role_that_cannot_be_a_name_is_refused(role: str) -> None:
    with pytest.raises(InputError, match="namespace role"):
        NetNs(role, "t")


def test_a_run_that_cannot_be_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="run id"):
        NetNs("gen", "a/../b")


def test_without_privilege_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> int:
        ctypes.set_errno(1)
        return -1

    monkeypatch.setattr(netns._libc, "unshare", refuse)
    with pytest.raises(KernelError, match="run as root"):
        NetNs("gen", "t")


@pytest.mark.system
def test_only_the_thread_that_enters_is_inside() -> None:
    home = current_inode()
    inside, looked = threading.Event(), threading.Event()
    seen: list[int] = []

    def look() -> None:
        inside.wait(5)
        seen.append(current_inode())
        looked.set()

    other = threading.Thread(target=look)
    other.start()
    with NetNs("gen", "t") as namespace, namespace.entered():
        inside.set()
        assert current_inode() == namespace.inode != home
        assert looked.wait(5)
    other.join()
    assert seen == [current_inode()] == [home]


@pytest.mark.system
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_thread_is_back_home_after_an_error_inside(error: type[BaseException]) -> None:
    home = current_inode()
    with NetNs("gen", "t") as namespace, pytest.raises(error), namespace.entered():
        raise error
    assert current_inode() == home


@pytest.mark.system
def test_namespaces_are_entered_within_each_other() -> None:
    home = current_inode()
    with NetNs("gen", "t") as outer, NetNs("dut", "t") as inner, outer.entered():
        with inner.entered():
            assert current_inode() == inner.inode
        assert current_inode() == outer.inode
    assert current_inode() == home


@pytest.mark.system
def test_no_way_back_is_no_ordinary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        with NetNs("gen", "t") as namespace:
            calls = iter([0, -1])
            monkeypatch.setattr(entering._libc, "setns", lambda *_: next(calls))
            with pytest.raises(LostNamespaceError, match="xl-t-gen"), namespace.entered():
                pass

    body()
    assert not issubclass(LostNamespaceError, Exception)


@pytest.mark.system
def test_a_new_namespace_has_loopback_up_and_no_ipv6() -> None:
    with NetNs("gen", "t") as namespace:
        with namespace.entered():
            assert socket.if_nameindex() == [(1, "lo")]
            assert Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").read_text().strip() == "1"
            assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "0"
        with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as a:
            a.bind(("127.0.0.1", 0))
            a.sendto(b"x", a.getsockname())
            assert a.recv(1) == b"x"
        # what `ping` needs without any capability
        namespace.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()


@pytest.mark.system
def test_settings_stay_inside() -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    with NetNs("gen", "t", sysctls={"net/ipv4/ip_forward": "1"}) as namespace, namespace.entered():
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


@pytest.mark.system
def test_an_unknown_setting_is_refused_and_leaves_no_descriptor() -> None:
    before = descriptors()
    with pytest.raises(InputError, match="net/ipv4/nonsense"):
        NetNs("gen", "t", sysctls={"net/ipv4/nonsense": "1"})
    assert descriptors() == before


@pytest.mark.system
def test_an_unknown_interface_is_named_with_those_that_exist() -> None:
    with NetNs("gen", "t") as namespace, pytest.raises(InputError, match=r"'eth7'.*there is lo"):
        namespace.interface_index("eth7")


@pytest.mark.system
def test_a_pinned_namespace_is_found_by_ip_netns_and_gone_after_close() -> None:
    namespace = NetNs("gen", RUN)
    try:
        path = namespace.pin()
        assert path.stat().st_ino == namespace.inode
        shown = subprocess.run(
            ["ip", "netns", "exec", path.name, "ip", "-br", "link"], capture_output=True, text=True
        )
        assert shown.stdout.split()[0] == "lo"
        with NetNs("gen", RUN) as second, pytest.raises(KernelError, match="cleanup"):
            second.pin()
        assert path.stat().st_ino == namespace.inode
    finally:
        namespace.close()
    assert not path.exists()


@pytest.mark.system
def test_a_pin_that_is_refused_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with NetNs("gen", RUN) as namespace:
        monkeypatch.setattr(netns._libc, "mount", lambda *_: -1)
        with pytest.raises(KernelError, match="pin namespace"):
            namespace.pin()
        assert namespace.pinned is None
    assert not (NAMESPACE_DIRECTORY / namespace.name).exists()


@pytest.mark.system
def test_a_kept_namespace_outlives_its_object_until_its_pin_is_removed() -> None:
    namespace = NetNs("gen", RUN)
    path = namespace.keep()
    try:
        namespace.close()
        assert path.stat().st_ino == namespace.inode
    finally:
        remove_pin(path)
    assert not path.exists()
    remove_pin(path)


@pytest.mark.system
def test_closing_twice_is_fine_and_a_closed_namespace_says_so() -> None:
    before = descriptors()
    namespace = NetNs("gen", "t")
    namespace.close()
    namespace.close()
    assert namespace.closed
    assert descriptors() == before
    with pytest.raises(InputError, match="is closed"), namespace.entered():
        pass
