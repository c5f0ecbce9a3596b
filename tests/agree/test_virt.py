"""Programs without firmware end on riscv-virt as they do on QEMU's virt, with the same code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.bare import END, FAIL_WITH_A0, write_program
from tests.host import programs

QEMU = "qemu-system-riscv64"
pytestmark = programs(QEMU)

MTVEC, MCAUSE, MTVAL = 0x305, 0x342, 0x343
RAM_END = ("lui t1, 0x81000", "slli t1, t1, 32", "srli t1, t1, 32")
NOWHERE = "lui t1, 0x18000"
PROGRAMS: dict[str, tuple[str, ...]] = {
    "load at 0": ("lw a1, 0(zero)",),
    "store at 0": ("sb a1, 0(zero)",),
    "load nowhere": (NOWHERE, "ld a1, 0(t1)"),
    "store nowhere": (NOWHERE, "sd a1, 0(t1)"),
    # Not here: amoadd, of which QEMU 7.2 says that it is the load that faults.
    "load reserved nowhere": (NOWHERE, "lr.w a1, (t1)"),
    "store conditional nowhere": (NOWHERE, "sc.w a1, a1, (t1)", *END),
    "fetch nowhere": (NOWHERE, "jalr zero, 0(t1)"),
    "load behind RAM": (*RAM_END, "lw a1, 0(t1)"),
    "store behind RAM": (*RAM_END, "sw a1, 0(t1)"),
    "load over the end of RAM": (*RAM_END, "lw a1, -2(t1)"),
    "store over the end of RAM": (*RAM_END, "sw a1, -2(t1)"),
    "load at the top": ("addi t1, zero, -8", "ld a1, 0(t1)"),
    "store to the reset ROM": ("lui t1, 0x1", "sw a1, 0(t1)", *END),
    "load behind a virtio slot": ("lui t1, 0x10001", "lw a1, 0x400(t1)"),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("register", [MCAUSE, MTVAL])
def test_agrees(program: str, register: int, tmp_path: Path) -> None:
    """The code is the cause of the trap, or bits 29:24 of its value, with one more set."""
    lines = PROGRAMS[program]
    shift = 0 if register == MCAUSE else 24
    report = (f"csrrs a0, {register}, zero", f"srli a0, a0, {shift}", "andi a0, a0, 0x3F")
    handler = f"addi t0, t0, {12 + 4 * len(lines)}"
    path = write_program(
        tmp_path / "p.elf", "auipc t0, 0", handler, f"csrrw zero, {MTVEC}, t0", *lines,
        *report, "ori a0, a0, 0x40", *FAIL_WITH_A0,
    )  # fmt: skip
    assert under_bimetal(path) == under_qemu(path)


def under_bimetal(program: Path) -> int:
    with Machine("riscv-virt", memory="16M", bios="none", kernel=program) as vm:
        vm.start()
        return vm.wait(60).code


def under_qemu(program: Path) -> int:
    options = "-M virt -m 16M -bios none -display none -monitor none -serial none -kernel"
    done = subprocess.run(
        [QEMU, *options.split(), str(program)], timeout=60, capture_output=True, check=False
    )
    return done.returncode
