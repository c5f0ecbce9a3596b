"""Programs that try every device in odd ways see on our board what they see on QEMU's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal import Machine
from tests.host import programs

PROGRAMS = Path(__file__).with_name("programs")
COMPILER, QEMU = "riscv64-linux-gnu-gcc", "qemu-system-riscv64"
OPTIONS = (
    "-O1 -march=rv64imac_zicsr -mabi=lp64 -mcmodel=medany -ffreestanding -nostdlib -static"
    " -fno-pic -no-pie -fno-stack-protector -fno-tree-loop-distribute-patterns"
    " -Wl,--build-id=none -Wl,--no-warn-rwx-segments -Wl,-z,max-page-size=4096"
).split()
IN_SLOT = "virtio-blk-device,drive=disk,bus=virtio-mmio-bus.0"
MODERN = ("-global", "virtio-mmio.force-legacy=false")
ON_BUS = "virtio-blk-pci,drive=disk,addr=1,serial=x"
AIA = "aia=aplic-imsic"
PROGRAMS_WITH = {
    "imsic": (f"riscv-virt,{AIA}", ("-M", f"virt,{AIA}")),
    "widths": ("riscv-virt", (*MODERN, "-device", IN_SLOT)),
    "interrupts": ("riscv-virt", (*MODERN, "-device", IN_SLOT)),
    "legacy": ("riscv-virt,virtio-mmio=legacy", ("-device", IN_SLOT)),
    "pci": ("riscv-virt,bus=pci", ("-nic", "none", "-device", ON_BUS)),
}
"""Each program with our board and QEMU's options."""
LIMIT = 100

pytestmark = programs(COMPILER, QEMU)


def built(name: str, folder: Path) -> Path:
    """The program ``name``, compiled."""
    program = folder / f"{name}.elf"
    script = f"-T{PROGRAMS / 'bare.ld'}"
    command = [COMPILER, *OPTIONS, script, str(PROGRAMS / f"{name}.c"), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return program


def on_qemu(program: Path, disk: Path, options: tuple[str, ...]) -> list[str]:
    """What the program prints on QEMU's ``virt``."""
    drive = f"if=none,id=disk,format=raw,file={disk}"
    command = [QEMU, "-M", "virt", "-m", "64M", "-bios", "none", "-kernel", str(program)]
    command += ["-drive", drive, *options, "-display", "none", "-serial", "stdio"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=True
    )
    return done.stdout.decode().splitlines()


def on_ours(program: Path, disk: Path, board: str) -> list[str]:
    """What it prints on ours."""
    with Machine(board, memory="64M", bios="none", kernel=program, accel="interp") as vm:
        vm.disk(disk, serial="x" if "pci" in board else "")
        vm.start()
        assert vm.wait(LIMIT).code == 0
        return vm.console.log.splitlines()


@pytest.mark.parametrize("name", PROGRAMS_WITH)
def test_the_same_on_both(tmp_path: Path, name: str) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    program = built(name, tmp_path)
    board, options = PROGRAMS_WITH[name]
    expected = on_qemu(program, disk, options)
    ours = on_ours(program, disk, board)
    assert expected[-1] == "end"
    assert ours == expected
