"""Firmware and boot loaders as Debian builds them: OpenSBI and U-Boot; UEFI is in test_uefi.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
@pytest.mark.parametrize(
    ("aia", "console", "disk"),
    [("aplic", "APLIC-DIRECT", "APLIC-DIRECT *33"), ("aplic-imsic", "APLIC-MSI", "PCI-MSIX")],
)
def test_opensbi_leaves_interrupts_to_linux(
    terminal: Start, fetched: Fetch, tmp_path: Path, aia: str, console: str, disk: str
) -> None:
    """It delegates sources, and says where messages go."""
    opensbi = fetched("opensbi-uboot-riscv64").bios
    fetched("debian-riscv64")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4 << 20))
    board = f"riscv-virt,aia={aia},bus=pci"
    words = ("--bios", str(opensbi), "--board", board, "--cpus", "2", "--disk", str(image))
    vm = terminal("debian-riscv64", *words, "--append", "quiet")
    vm.expect(PROMPT)
    vm.do("dd if=/dev/vda of=/dev/null bs=64k")
    for pattern in (f"{console}.*ttyS0", f"{disk}.*virtio0"):
        lines = vm.do(f"grep '{pattern}' /proc/interrupts").splitlines()
        assert sum(sum(map(int, line.split()[1:3])) for line in lines) > 3
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
