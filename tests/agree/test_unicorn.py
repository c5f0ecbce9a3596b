"""Instructions agree with Unicorn: of RISC-V jumps, branches and pc-relative addresses; of A64 all
that Unicorn knows, and what depends on where an instruction stands.

pytest -m slow tests/agree/test_unicorn.py      # more encodings and states
"""

from __future__ import annotations

import pytest

from bimetal.isa.arm import a64
from bimetal.isa.describe import Insn

from . import operands
from .arm import cases as arm_cases
from .arm.executors import EXECUTORS as ARM_EXECUTORS
from .arm.test_qemu import CHAPTERS, MODES, alone, corrected, placed
from .executors import EXECUTORS
from .state import Case, Executor, differences
from .unicorn_oracle import AARCH64, RISCV64

NAMES = (
    *("auipc", "jal", "jalr", "beq", "bne", "blt", "bge", "bltu", "bgeu"),
    *("c.j", "c.jr", "c.jalr", "c.beqz", "c.bnez"),
)
PLACED = sorted({insn.name for insn in a64.insns if placed(insn)})
LACKING = {"bf16", "i8mm"}
"""Chapters that Unicorn 2.1 has not."""


def known(insn: Insn) -> bool:
    """Whether Unicorn 2.1 knows the instruction, and is right about it.

    It compares the signed minimum and maximum of less than 64 bits (LDSMIN, LDSMAX; C6.2) with a
    value from memory that has lost its sign; and FCMLA of four halves by an element raises flags
    for the upper ones of the registers too, which are no operands (C7.2). QEMU 7.2 does neither.
    """
    text = insn.template.text
    loses_signs = insn.name.startswith(("ldsmin", "ldsmax")) and ":w}" in text
    raises_more = insn.name == "fcmla" and ".4h" in text and "]" in text
    return not (insn.name in MODES or loses_signs or raises_more)


def agree(executor: Executor, tried: list[Case]) -> None:
    want = corrected(tried, AARCH64.execute(tried))
    wrong = differences(tried, executor.execute(tried), want)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)} differ", *wrong[:10]])


def chapter(name: str, words: int, states: int) -> list[Case]:
    """Cases of a chapter that do not depend on their place."""
    return [
        case
        for insn in arm_cases.instructions(name)
        if known(insn) and not placed(insn) and not alone(insn)
        for case in arm_cases.cases(insn, words, states)
    ]


def at_their_place(name: str, words: int, states: int) -> list[Case]:
    """Cases of instructions with a name that depend on it."""
    return [
        case
        for insn in a64.insns
        if insn.name == name and placed(insn)
        for case in arm_cases.cases(insn, words, states)
    ]


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize("name", NAMES)
def test_agrees(name: str, executor: Executor) -> None:
    insn = next(insn for insn in operands.instructions("i", "c") if insn.name == name)
    table = operands.cases(insn, words=12, states=16)
    wrong = differences(table, executor.execute(table), RISCV64.execute(table))
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:10]])


@pytest.mark.parametrize("executor", ARM_EXECUTORS[:4], ids=lambda executor: executor.name)
@pytest.mark.parametrize("name", PLACED)
def test_a64_agrees_at_its_place(name: str, executor: Executor) -> None:
    agree(executor, at_their_place(name, words=6, states=6))


@pytest.mark.parametrize("name", sorted(set(CHAPTERS) - LACKING))
def test_a64_agrees(name: str) -> None:
    agree(ARM_EXECUTORS[1], chapter(name, words=1, states=2))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ARM_EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize("name", PLACED)
def test_a64_agrees_at_its_place_at_length(name: str, executor: Executor) -> None:
    agree(executor, at_their_place(name, words=200, states=20))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ARM_EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize("name", sorted(set(CHAPTERS) - LACKING))
def test_a64_agrees_at_length(name: str, executor: Executor) -> None:
    agree(executor, chapter(name, words=12, states=30))
