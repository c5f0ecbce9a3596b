"""Linux's stock drivers on PCI Express: what they find, and a disk that they read and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]
SIZE = 4 << 20
TEXT = b"written on the host"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raw image with a text in its first sector."""
    path = tmp_path / "disk.img"
    path.write_bytes(TEXT + bytes(SIZE - len(TEXT)))
    return path


@pytest.mark.parametrize(
    ("guest", "board", "controller"),
    [
        ("debian-riscv64", "riscv-virt", "SiFive PLIC *33"),
        pytest.param(
            "debian-riscv64", "riscv-virt,aia=aplic", "APLIC-DIRECT *33", marks=pytest.mark.slow
        ),
        pytest.param(
            "debian-riscv64",
            "riscv-virt,aia=aplic-imsic",
            "PCI-MSIX-0000:00:01.0",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "debian-sid-riscv64",
            "riscv-virt,aia=aplic-imsic",
            "PCI-MSIX-0000:00:01.0",
            marks=pytest.mark.slow,
        ),
        ("debian-arm64", "arm-virt", "GICv2m-PCI-MSIX-0000:00:01.0"),
        pytest.param(
            "debian-arm64", "arm-virt,gic=3", "ITS-PCI-MSIX-0000:00:01.0", marks=pytest.mark.slow
        ),
    ],
)
def test_a_disk_on_pci(
    terminal: Start, fetched: Fetch, image: Path, guest: str, board: str, controller: str
) -> None:
    """Its interrupts come by the pin where no controller takes messages, and else as messages."""
    fetched(guest)
    words = ("--append", "quiet", "--disk", f"{image},serial=BM-0042")
    vm = terminal(guest, "--board", f"{board},bus=pci", *words)
    vm.expect(PROMPT)
    assert vm.do("cat /sys/bus/pci/devices/0000:00:00.0/class") == "0x060000"
    assert vm.do("readlink -f /sys/block/vda/device").endswith("/0000:00:01.0/virtio0")
    assert vm.do("cat /sys/block/vda/serial") == "BM-0042"
    assert vm.do(f"head -c {len(TEXT)} /dev/vda") == TEXT.decode()
    vm.do("yes bimetal | head -c 2097152 | dd of=/dev/vda bs=64k seek=32 conv=notrunc,fsync")
    interrupts = vm.do(f"grep '{controller}.*virtio0' /proc/interrupts").splitlines()
    assert sum(int(line.split()[1]) for line in interrupts) > 3
    assert vm.do("head -c 8 /dev/hwrng | wc -c") == "8"
    assert vm.do("dmesg | grep -e Oops -e BUG -e 'PCI.*fail'", status=1) == ""
    vm.send("exit\r")
    assert vm.end() == 0
    data = image.read_bytes()
    assert len(data) == SIZE
    assert data[2 << 20 :] == b"bimetal\n" * (1 << 18)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "controller"),
    [("arm-virt", "GICv2m-PCI-MSIX"), ("arm-virt,gic=3", "ITS-PCI-MSIX")],
)
def test_a_disk_on_pci_by_acpi(
    terminal: Start, fetched: Fetch, image: Path, board: str, controller: str
) -> None:
    """UEFI firmware finds the bus, and its tables lead Linux there."""
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    words = ("--bios", str(bios), "--append", "loglevel=3", "--disk", f"{image}")
    vm = terminal("debian-arm64", "--board", f"{board},bus=pci", *words)
    vm.expect("BIMETAL-GUEST-UP")
    vm.expect(PROMPT)
    assert "MCFG" in vm.do("ls /sys/firmware/acpi/tables")
    assert vm.do(f"head -c {len(TEXT)} /dev/vda") == TEXT.decode()
    assert int(vm.do(f"grep -c '{controller}.*virtio' /proc/interrupts")) > 1
    assert vm.do("dmesg | grep -c -e 'ACPI Error' -e 'ACPI.*Exception'", status=1) == "0"
    assert vm.do("dmesg | grep -c '_OSC: OS now controls'") == "1"
    vm.send("exit\r")
    assert vm.end() == 0
