"""EXTR, and ROR by a number, which is EXTR of one register twice: every distance."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER
from .arm_results import ours

pytestmark = programs(ASSEMBLER, LINKER)

HIGH, LOW = (random.Random(1).getrandbits(64) | 1 << 63 | 1 for _ in range(2))


def extracted(high: int, low: int, distance: int, width: int) -> int:
    """The ``width`` bits that lie ``distance`` bits above the end of two numbers in a row."""
    both = high % (1 << width) << width | low % (1 << width)
    return both >> distance & (1 << width) - 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("width", "r"), [(32, "w"), (64, "x")])
def test_bits_of_two_registers_are_taken(engine: str, width: int, r: str, tmp_path: Path) -> None:
    lines = [f"ldr x1, ={HIGH}", f"ldr x2, ={LOW}", "adr x4, results"]
    wanted = []
    for distance in range(width):
        for first, second in ((1, 2), (2, 1), (1, 1)):
            lines += [
                "mov x3, #-1",
                f"extr {r}3, {r}{first}, {r}{second}, #{distance}",
                "str x3, [x4], #8",
            ]
            high, low = ((HIGH, LOW)[number - 1] for number in (first, second))
            wanted.append(extracted(high, low, distance, width))
        # Into a register that it reads, and from the one that is zero.
        lines += ["mov x3, x1", f"extr {r}3, {r}2, {r}3, #{distance}", "str x3, [x4], #8"]
        wanted.append(extracted(LOW, HIGH, distance, width))
        lines += [f"extr {r}3, {r}zr, {r}2, #{distance}", "str x3, [x4], #8"]
        wanted.append(extracted(0, LOW, distance, width))
    source = "\n".join([*lines, "b finish", ".ltorg\n"])
    assert ours(engine, source, len(wanted), tmp_path) == wanted
