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


@pytest.fixture(scope="session")
def root_image() -> Path:
    """The image, made once and kept in the cache: tests use it as a snapshot."""
    image = cache_folder() / "roots" / "root.img"
    if not image.exists():
        if lacking := missing_tools() or ("root" if os.getuid() else ""):
            pytest.skip(f"to make a root file system this host lacks {lacking}")
        make_root(image)
    return image


@pytest.mark.parametrize("cpus", ["1", "4"])
def test_systemd_reaches_login_and_powers_off(
    terminal: Callable[..., Terminal], fetched: Fetch, root_image: Path, cpus: str
) -> None:
    fetched("debian-riscv64")
    disk = f"{root_image},snapshot"
    append = "bmroot=/dev/vda systemd.show_status=0"
    vm = terminal("debian-riscv64", "--disk", disk, "--append", append, "-m", "1G", "--cpus", cpus)
    vm.expect("login: ")
    vm.send("root\r")
    vm.expect("Password: ")
    vm.send("bimetal\r")
    vm.expect("root@bimetal:~# ")
    assert vm.do("nproc") == cpus
    assert vm.do("systemctl list-units --failed --no-legend --plain") == ""
    vm.send("systemctl poweroff\r")
    assert vm.end() == 0
