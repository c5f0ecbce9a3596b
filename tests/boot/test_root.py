"""A whole Debian with systemd on a virtio disk, to its login prompt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import cache_folder
from tests.boot.conftest import Fetch, Terminal
from tools.debian_root import make_root, missing_tools

pytestmark = [pytest.mark.boot, pytest.mark.slow]


def root_image(arch: str) -> Path:
    """The image, made once and kept in the cache: tests use it as a snapshot."""
    image = cache_folder() / "roots" / f"{arch}.img"
    if not image.exists():
        if lacking := missing_tools(arch) or ("root" if os.getuid() else ""):
            pytest.skip(f"to make a root file system this host lacks {lacking}")
        make_root(image, arch)
    return image


@pytest.mark.parametrize("cpus", ["1", "4"])
@pytest.mark.parametrize("arch", ["riscv64", "arm64"])
def test_systemd_reaches_login_and_powers_off(
    terminal: Callable[..., Terminal], fetched: Fetch, arch: str, cpus: str
) -> None:
    guest = f"debian-{arch}"
    fetched(guest)
    disk = f"{root_image(arch)},snapshot"
    append = "bmroot=/dev/vda systemd.show_status=0"
    vm = terminal(guest, "--disk", disk, "--append", append, "-m", "1G", "--cpus", cpus)
    vm.expect("login: ")
    vm.send("root\r")
    vm.expect("Password: ")
    vm.send("bimetal\r")
    vm.expect("root@bimetal:~# ")
    assert vm.do("nproc") == cpus
    assert vm.do("systemctl list-units --failed --no-legend --plain") == ""
    vm.send("systemctl poweroff\r")
    assert vm.end() == 0
