"""Jumps, branches and pc-relative addresses agree with Unicorn."""

from __future__ import annotations

import pytest

from . import unicorn_oracle
from .executors import EXECUTORS
from .operands import cases, instructions
from .state import Executor, differences

NAMES = (
    *("auipc", "jal", "jalr", "beq", "bne", "blt", "bge", "bltu", "bgeu"),
    *("c.j", "c.jr", "c.jalr", "c.beqz", "c.bnez"),
)


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize("name", NAMES)
def test_agrees(name: str, executor: Executor) -> None:
    insn = next(insn for insn in instructions("i", "c") if insn.name == name)
    table = cases(insn, words=12, states=16)
    wrong = differences(table, executor.execute(table), unicorn_oracle.execute(table))
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:10]])
