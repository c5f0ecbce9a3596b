"""Integer, bit-manipulation and floating-point instructions agree with QEMU's user emulation."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from . import qemu_oracle
from .executors import EXECUTORS
from .operands import cases, instructions
from .state import Case, Executor, State, differences

pytestmark = pytest.mark.skipif(
    qemu_oracle.COMMAND is None, reason="needs qemu-riscv64-static (Debian: qemu-user-static)"
)

SIZES = {"f": (12, 8), "d": (12, 8), "zfh": (6, 12)}
"""Encodings of each instruction, and states for each encoding; others have (4, 12)."""

# Where they go next is compared elsewhere; QEMU's users have no privileges and no reservations.
ELSEWHERE = ("auipc", "beq", "bge", "bgeu", "blt", "bltu", "bne", "ebreak", "ecall", "jal", "jalr")
COMPRESSED = ("c.beqz", "c.bnez", "c.ebreak", "c.j", "c.jalr", "c.jr")
RESERVATIONS = ("lr.d", "lr.w", "sc.d", "sc.w")


def _sound(case: Case) -> bool:
    """QEMU 7.2's ctzw counts beyond the low word, if that is zero."""
    if not case.text.startswith("ctzw"):
        return True
    source = case.word >> 15 & 31
    return source != 0 and case.before.registers[f"x{source}"] & 0xFFFF_FFFF != 0


@cache
def table(extension: str) -> list[Case]:
    """All cases of an extension."""
    skipped = ELSEWHERE + COMPRESSED + RESERVATIONS
    words, states = SIZES.get(extension, (4, 12))
    return [
        case
        for insn in instructions(extension)
        if insn.name not in skipped
        for case in cases(insn, words, states)
        if _sound(case)
    ]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[State]]:
    """QEMU's states, by extension, as far as a test has asked for them."""
    return {}


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize(
    "extension",
    [
        *("i", "m", "a", "c", "f", "d", "zfh"),
        *("zba", "zbb", "zbc", "zbs", "zbkb", "zbkx", "zihintpause"),
    ],
)
def test_agrees(
    extension: str, executor: Executor, outcomes: dict[str, list[State]], tmp_path: Path
) -> None:
    if extension not in outcomes:
        outcomes[extension] = qemu_oracle.execute(table(extension), tmp_path)
    wrong = differences(table(extension), executor.execute(table(extension)), outcomes[extension])
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:10]])
