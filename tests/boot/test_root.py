"""A whole Debian with systemd on a virtio disk, to its login prompt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import Fetch, Terminal, compile_x86
from tests.boot.debian import root_image

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ACCELERATORS = {"riscv64": "auto", "arm64": "auto", "amd64": "jit"}
"""That of ours by each architecture: for the host's own `auto` is KVM."""


@pytest.mark.parametrize("cpus", ["1", "4"])
@pytest.mark.parametrize("arch", ACCELERATORS)
def test_systemd_reaches_login_and_powers_off(
    terminal: Callable[..., Terminal], fetched: Fetch, arch: str, cpus: str
) -> None:
    guest = f"debian-{arch}"
    fetched(guest)
    if arch == "amd64":
        compile_x86()
    disk = f"{root_image(arch)},snapshot"
    append = "bmroot=/dev/vda systemd.show_status=0"
    words = ("--disk", disk, "--append", append, "-m", "1G", "--cpus", cpus)
    vm = terminal(guest, *words, "--accel", ACCELERATORS[arch])
    vm.expect("login: ")
    vm.send("root\r")
    vm.expect("Password: ")
    vm.send("bimetal\r")
    vm.expect("root@bimetal:~# ")
    assert vm.do("nproc") == cpus
    assert vm.do("systemctl list-units --failed --no-legend --plain") == ""
    vm.send("systemctl poweroff\r")
    assert vm.end() == 0
