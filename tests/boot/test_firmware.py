"""Firmware and boot loaders as Debian builds them: OpenSBI and U-Boot; UEFI is in test_uefi.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]


def test_opensbi_starts_u_boot(terminal: Start, fetched: Fetch) -> None:
    fetched("opensbi-uboot-riscv64")
    vm = terminal("opensbi-uboot-riscv64")
    vm.expect("OpenSBI v")
    vm.expect("U-Boot 20")
    vm.expect("Hit any key")
    vm.send(" ")
    vm.expect("=> ")
    vm.send("echo $arch $cpu\r")
    vm.expect("riscv")
    vm.expect("=> ")
    vm.send("poweroff\r")
    assert vm.end() == 0


def test_opensbi_starts_linux(terminal: Start, fetched: Fetch) -> None:
    opensbi = fetched("opensbi-uboot-riscv64").bios
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--bios", str(opensbi))
    vm.expect("OpenSBI v")
    vm.expect("BIMETAL-GUEST-UP")
    vm.expect(PROMPT)
    assert "SBI" in vm.do("dmesg | grep -i sbi")
    vm.send("exit\r")
    assert vm.end() == 0


@pytest.mark.slow
def test_u_boot_comes_out_of_flash_on_arm(terminal: Start, fetched: Fetch) -> None:
    fetched("uboot-arm64")
    vm = terminal("uboot-arm64")
    vm.expect("U-Boot 20")
    vm.expect("Hit any key")
    vm.send(" ")
    vm.expect("=> ")
    vm.send("echo $arch $board\r")
    vm.expect("qemu-arm")
    vm.expect("=> ")
    vm.send("poweroff\r")
    assert vm.end() == 0
