"""A program that goes through memory for ever, and ends the machine if it does not find there what
it wrote before."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tests.boot.bare import FAIL_WITH_A0, labelled, write_program

__all__ = ["in_a_row", "in_order", "verifying_program"]

ARRAYS = 0x8040_0000
LETTERS = 16


def verifying_program(path: Path, kib: int = 1024) -> Path:
    """Each hart has an array of so many KiB, in which each word is its address and the number of
    the lap. After a lap a hart prints the next of sixteen letters, hart 0 from ``a`` on, hart 1
    from ``A`` on; other harts are silent. A wrong word ends the machine with code 7."""
    return write_program(
        path,
        *labelled(
            "addi s3, a0, 0",  # what firmware tells: the number of the hart
            f"lui s0, {ARRAYS >> 12:#x}",
            f"lui s4, {kib * 1024 >> 12:#x}",
            "addi t0, s3, 0",
            "place:",
            "beq t0, zero, {placed}",
            "add s0, s0, s4",
            "addi t0, t0, -1",
            "jal zero, {place}",
            "placed:",
            "slli s0, s0, 32",
            "srli s0, s0, 32",
            "add s1, s0, s4",
            "addi s2, zero, 0",
            "lui s5, 0x10000",  # the serial port
            "addi s6, zero, 97",
            "slli t0, s3, 5",
            "sub s6, s6, t0",
            "addi t0, s0, 0",
            "fill:",
            "sd t0, 0(t0)",
            "addi t0, t0, 8",
            "bne t0, s1, {fill}",
            "lap:",
            "addi t0, s0, 0",
            "word:",
            "ld t1, 0(t0)",
            "add t2, t0, s2",
            "bne t1, t2, {wrong}",
            "addi t2, t2, 1",
            "sd t2, 0(t0)",
            "addi t0, t0, 8",
            "bne t0, s1, {word}",
            "andi t1, s2, 15",
            "add t1, t1, s6",
            "addi s2, s2, 1",
            "srli t2, s3, 1",
            "bne t2, zero, {lap}",
            "sb t1, 0(s5)",
            "jal zero, {lap}",
            "wrong:",
            "addi a0, zero, 7",
            *FAIL_WITH_A0,
        ),
    )


def in_a_row(letters: str) -> re.Pattern[str]:
    """Letters of hart 0 in a row, whatever hart 1 prints between them."""
    return re.compile("[A-P]*".join(letters))


def in_order(text: str, first: str = "a") -> bool:
    """Whether those letters of a text that a hart prints follow each other."""
    own = [ord(each) - ord(first) for each in text if 0 <= ord(each) - ord(first) < LETTERS]
    return all((b - a) % LETTERS == 1 for a, b in pairwise(own))
