# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The guest's first files: modules in order, an archive that cpio(1) reads, a command word for word."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from labs.harness.patience import SLOW
from labs.harness.vm import kernels, machine, modules, tools
from labs.harness.vm.cpio import Archive
from labs.harness.vm.initramfs import Errand
from labs.harness.vm.kernels import Kernel
from xdp.pyxdp.errors import InputError

DEPENDENCIES = """\
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/drivers/net/virtio-net.ko.xz: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "6.12.1-amd64"
    made.mkdir()
    (made / "modules.dep").write_text(DEPENDENCIES)
    (made / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    return made


def test_each_module_comes_once_and_after_all_that_it_needs(folder: Path) -> None:
    order = [path.name for path in modules.resolve(folder, ["9p", "virtio_net", "9p", "virtio_pci"])]
    assert order == ["netfs.ko.xz", "9pnet.ko.xz", "9p.ko.xz", "failover.ko", "virtio-net.ko.xz"]


def test_a_module_that_the_kernel_lacks_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"kernel 6\.12\.1-amd64 has no module overlay"):
        modules.resolve(folder, ["overlay"])


def test_modules_are_unpacked_as_the_kernel_would_not_do_it(tmp_path: Path) -> None:
    for suffix, pack in (("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)):
        file = tmp_path / f"a.ko{suffix}"
        file.write_bytes(pack(b"\x7fELF"))
        assert modules.content(file) == b"\x7fELF"
    (tmp_path / "a.ko.lz").write_bytes(b"")
    with pytest.raises(InputError, match="neither"):
        modules.content(tmp_path / "a.ko.lz")


def test_cpio_reads_the_archive_back(tmp_path: Path) -> None:
    if not shutil.which("cpio"):
        pytest.skip("cpio is not installed: it is what this compares with")
    archive = Archive()
    archive.folder("bin")
    archive.file("bin/odd", b"12345", executable=True)
    archive.file("empty", b"")
    archive.link("bin/sh", "odd")
    subprocess.run(["cpio", "-id", "--quiet"], input=archive.data, cwd=tmp_path, check=True, timeout=10)
    assert (tmp_path / "bin/odd").read_bytes() == b"12345"
    assert (tmp_path / "bin/odd").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/sh").readlink() == Path("odd")
    assert (tmp_path / "empty").stat().st_size == 0


def test_the_command_arrives_as_it_was_given(tmp_path: Path) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "'", '"', "*", "\\", "", "ä\n"]
    errand = Errand(words, {"PATH": "/usr/bin:/bin", "ODD": "x y'$z"}, tmp_path, None)
    script = tmp_path / "command"
    script.write_bytes(errand.script())
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, timeout=10, check=True, env={})
    assert done.stdout.decode() == "a b|$HOME|'|\"|*|\\||ä\n|"
    environment = Errand(["/usr/bin/env"], {"ODD": "x y'$z"}, tmp_path, None)
    script.write_bytes(environment.script())
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, timeout=10, check=True, env={})
    assert b"ODD=x y'$z\n" in done.stdout


def test_the_settings_are_what_a_shell_reads(tmp_path: Path) -> None:
    errand = Errand(["true"], {}, tmp_path, tmp_path / "it's here")
    settings = tmp_path / "settings"
    settings.write_bytes(errand.settings(Kernel("6.12.1", Path("/k"), None)))
    done = subprocess.run(
        ["/bin/sh", "-c", f'. {settings}; echo "$RELEASE [$MODULES] $RESULTS"'],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stdout == f"6.12.1 [] {tmp_path}/it's here\n"


def test_the_environment_names_the_guest_and_keeps_only_what_a_command_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("XDPLAB_RUN", "1_2_3")  # the mark of one of our processes, which this is not
    monkeypatch.setenv("XDPLAB_WISH", "y")
    given = machine.errand_environment({"A": "b"}, "tcg")
    assert given["XDPLAB_GUEST"] == "1"
    assert float(given[SLOW]) > float(machine.errand_environment({}, "kvm")[SLOW])
    assert machine.errand_environment({SLOW: "50"}, "tcg")[SLOW] == "50"
    assert (given["A"], given["XDPLAB_WISH"]) == ("b", "y")
    assert "SECRET_TOKEN" not in given
    assert "XDPLAB_RUN" not in given


def test_a_kernel_image_says_its_own_release(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    head = bytearray(4096)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x300)
    head[0x500:0x52A] = b"6.99.0-mine (me@host) #1 SMP PREEMPT\0\0\0\0\0\0"
    image.write_bytes(head)
    assert kernels.from_file(image) == Kernel("6.99.0-mine", image, None)
    (tmp_path / "lib/modules/6.99.0-mine").mkdir(parents=True)
    (tmp_path / "lib/modules/6.99.0-mine/modules.dep").touch()
    assert kernels.from_file(image).modules == tmp_path / "lib/modules/6.99.0-mine"


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "_places", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"need qemu-system-x86_64, busybox: install busybox-static qemu-system-x86"
    ):
        tools.need("qemu-system-x86_64", "busybox")


def test_a_busybox_that_needs_libraries_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(Path("/bin/sh").read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="install busybox-static"):
        tools.static_busybox()
