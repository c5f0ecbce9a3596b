"""The instruction sets that C programs are compiled for, and how CPUs of ours run them.

A program makes system calls of Linux. In QEMU's user emulation they are answered; on a CPU without
a kernel they come out as firmware calls, straight or by a vector that makes these of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bimetal.isa.arm import a64

__all__ = ["AARCH64", "BASE", "RISCV64", "SIZE", "TARGETS", "VECTORS", "Target"]

BASE, SIZE = 0x10_0000, 1 << 20
VECTORS = BASE + SIZE
"""Behind a program's memory there is a page with what takes exceptions."""


@dataclass(frozen=True, slots=True)
class Target:
    """``options`` are the compiler's for all programs, ``marches`` the processors that programs are
    made for, by turns. ``registers`` are those of a CPU that enters a program, ``number`` and
    ``arguments`` those of a system call. ``vectors`` are what stands at `VECTORS`."""

    isa: str
    compiler: str
    emulator: str
    options: tuple[str, ...]
    marches: tuple[str, ...]
    registers: Mapping[str, int]
    number: str
    arguments: tuple[str, str, str]
    vectors: bytes = b""
    halves: bool = False


SUPERVISOR, FLOATING_POINT_ON = 1, 3 << 13
RISCV64 = Target(
    isa="riscv64",
    compiler="riscv64-linux-gnu-gcc",
    emulator="qemu-riscv64-static",
    options=("-mabi=lp64d", "-mcmodel=medany", "-Wl,--no-relax"),
    marches=("rv64gc",),
    registers={"priv": SUPERVISOR, "mstatus": FLOATING_POINT_ON},
    number="a7",
    arguments=("a0", "a1", "a2"),
)

FROM_HERE = 0x200
"""Of the vectors, that of synchronous exceptions from the same level and its own stack."""

AARCH64 = Target(
    isa="aarch64",
    compiler="aarch64-linux-gnu-gcc",
    emulator="qemu-aarch64-static",
    options=("-mno-outline-atomics",),
    marches=("armv8-a", "armv8.6-a+fp16+fp16fml+crypto+sha3+sm4"),
    registers={"cpacr_el1": 3 << 20, "vbar_el1": VECTORS},
    number="x8",
    arguments=("x0", "x1", "x2"),
    vectors=bytes(FROM_HERE) + a64.assemble("hvc 0x0") + a64.assemble("eret"),
    halves=True,
)

TARGETS = {target.isa: target for target in (RISCV64, AARCH64)}
