"""Firmware and boot loaders as Debian builds them: OpenSBI, U-Boot, UEFI."""

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


@pytest.mark.slow
def test_uefi_reaches_its_shell(terminal: Start, fetched: Fetch) -> None:
    fetched("uefi-arm64")
    vm = terminal("uefi-arm64")
    vm.expect("Shell>")
    vm.send("ver\r")
    vm.expect("EDK II")
    vm.expect("Shell>")
    vm.send("reset -s\r")
    assert vm.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("board", ["arm-virt", "arm-virt,gic=3,virtualization=on"])
def test_uefi_starts_linux(terminal: Start, fetched: Fetch, board: str) -> None:
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    vm = terminal("debian-arm64", "--bios", str(bios), "--board", board)
    vm.expect("BIMETAL-GUEST-UP aarch64")
    vm.expect(PROMPT)
    assert vm.do("dmesg | grep -c 'efi: EFI v2'") == "1"
    vm.send("exit\r")
    assert vm.end() == 0
