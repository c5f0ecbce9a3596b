"""Virtio devices as the drivers of a stock Linux kernel use them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal, file_of_initrd, run_piped

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]
GUESTS = ["debian-riscv64", pytest.param("debian-arm64", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", GUESTS)
def test_the_devices_of_a_guest(terminal: Start, fetched: Fetch, tmp_path: Path, name: str) -> None:
    fetched(name)
    shared = tmp_path / "shared"
    (shared / "folder").mkdir(parents=True)
    (shared / "text").write_text("from the host")
    (shared / "out").symlink_to("/proc/cpuinfo")
    vm = terminal(
        name, "--append", "quiet",
        "--share", f"{shared},tag=work", "--share", f"{shared},tag=safe,readonly",
    )  # fmt: skip
    vm.expect(PROMPT)
    uses_a_shared_folder(vm, shared)
    vm.send("exit\r")
    assert vm.end() == 0


def uses_a_shared_folder(vm: Terminal, shared: Path) -> None:
    """Mounts, reads, writes; the host's links are the guest's to follow."""
    vm.do(
        "mkdir /w /s; for tag in work safe; do mount -t 9p -o trans=virtio $tag /${tag:0:1}; done"
    )
    assert vm.do("cat /w/text") == "from the host"
    assert "Read-only file system" in vm.do("echo no > /s/text", status=1)
    vm.do("cmp /w/out /proc/cpuinfo")
    vm.do(
        "cd /w; cp /bin/busybox .; cmp busybox /bin/busybox; chown 3:4 busybox; chmod 4711 busybox"
    )
    vm.do("mknod null c 1 3 && echo gone > null; ln -s text link; ln text hard; mv folder renamed")
    assert vm.do("stat -c '%a %u %g' busybox; cat link; ls -d renamed").split("\n") == [
        "4711 3 4",
        "from the hostrenamed",
    ]
    vm.do("for i in $(seq 100); do echo $i > renamed/$i; done")
    assert vm.do("ls /s/renamed | wc -l; cat /s/renamed/77").split() == ["100", "77"]
    vm.do("cd /; umount /w && umount /s")
    assert (shared / "busybox").stat().st_mode & 0o7777 == 0o600
    assert (shared / "hard").samefile(shared / "text")
    assert len(os.listdir(shared / "renamed")) == 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["debian-riscv64", "debian-arm64"])
def test_a_shared_folder_as_root_file_system(fetched: Fetch, tmp_path: Path, name: str) -> None:
    guest = fetched(name)
    assert guest.initrd is not None
    for folder in ("bin", "sbin", "proc", "sys", "dev"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin/busybox").write_bytes(file_of_initrd(guest.initrd, "bin/busybox"))
    (tmp_path / "bin/sh").symlink_to("busybox")
    (tmp_path / "sbin/init").write_text(
        "#!/bin/sh\nread -r root type rest </proc/mounts\ngrep ' / ' /proc/mounts\n"
        "echo from the root > /written\nexec /bin/busybox poweroff -f\n"
    )
    for path in ("bin/busybox", "sbin/init"):
        (tmp_path / path).chmod(0o755)
    done = run_piped(name, "--append", "quiet bmroot=9p:root", "--share", f"{tmp_path},tag=root",
                     "--serial", "stdio", typed="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "root / 9p rw" in done.stdout
    assert (tmp_path / "written").read_text() == "from the root\n"
