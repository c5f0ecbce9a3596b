"""Endless programs that print what they compute, so that any interruption shows that is one."""

from __future__ import annotations

from pathlib import Path

from bimetal.isa.arm import a64
from tests.boot.bare import labelled, write_program

__all__ = ["ARM_BASE", "arm_program", "expected", "riscv_program"]

LAPS = 32
"""Steps of the generator from one letter to the next."""

MASK = (1 << 64) - 1
ARM_BASE = 0x4020_0000
AARCH64 = 183


def expected(count: int, first: str = "a") -> str:
    """The first letters that a CPU prints: x becomes 5 x + 1, and four of its bits choose one."""
    factor, summand = pow(5, LAPS, 1 << 64), (pow(5, LAPS) - 1) // 4 & MASK

    x, letters = 0, []
    for _ in range(count):
        x = x * factor + summand & MASK
        letters.append(chr(ord(first) + (x >> 32 & 15)))
    return "".join(letters)


def riscv_program(path: Path) -> Path:
    """Hart 0 prints small letters, hart 1 capital ones; each sleeps for 100 µs after a letter."""
    return write_program(
        path,
        *labelled(
            "csrrs t0, mhartid, zero",
            "lui s1, 0x10000",  # the serial port
            "la s2, data",
            "slli t1, t0, 3",
            "add s2, s2, t1",
            "lui s6, 0x2004",  # mtimecmp
            "add s6, s6, t1",
            "lui s7, 0x200c",
            "addi s7, s7, -8",  # mtime
            "slli t0, t0, 5",
            "addi s4, zero, 97",
            "sub s4, s4, t0",
            "addi t0, zero, 0x80",
            "csrrw zero, mie, t0",
            "addi s3, zero, 0",
            "letter:",
            f"addi s5, zero, {LAPS}",
            "lap:",
            "slli t0, s3, 2",
            "add s3, s3, t0",
            "addi s3, s3, 1",
            "sd s3, 0(s2)",
            "ld s3, 0(s2)",
            "addi s5, s5, -1",
            "bne s5, zero, {lap}",
            "srli t0, s3, 32",
            "andi t0, t0, 15",
            "add t0, t0, s4",
            "sb t0, 0(s1)",
            "ld t0, 0(s7)",
            "addi t0, t0, 1000",
            "sd t0, 0(s6)",
            "wfi",
            "jal zero, {letter}",
            "data:",
        ),
        bytes(64),
    )


def arm_program(path: Path) -> Path:
    """CPU 0 prints small letters without a rest."""
    letter = ARM_BASE + 4 * 4
    lap = letter + 4
    return write_program(
        path,
        "movz x1, #0x900, lsl #16",  # the serial port
        "movz x2, #0x4030, lsl #16",
        "movz x3, #0",
        "movz x4, #97",
        f"movz x5, #{LAPS}",
        "add x3, x3, x3, lsl #2",
        "add x3, x3, #1",
        "str x3, [x2, #0]",
        "ldr x3, [x2, #0]",
        "sub x5, x5, #1",
        f"cbnz x5, {lap:#x}",
        "ubfm x0, x3, #32, #35",
        "add x0, x0, x4",
        "strb w0, [x1, #0]",
        f"b {letter:#x}",
        machine=AARCH64,
        isa=a64,
        base=ARM_BASE,
    )
