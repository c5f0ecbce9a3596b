"""Hints (C4.1.93.3): instructions that advise the processor and change no register."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu, when
from ..exceptions import wakes
from ..state import a64


def _hint(name: str, number: int) -> None:
    @a64.insn(f"1101010100 0 00 011 0010 {number >> 3:04b} {number & 7:03b} 11111", name)
    def meaning(cpu: Cpu) -> None:
        """Nothing to do."""


for _name, _number in (("nop", 0), ("sev", 4), ("sevl", 5)):
    _hint(_name, _number)


@a64.insn("1101010100 0 00 011 0010 0000 001 11111", "yield")
def yield_(cpu: Cpu) -> None:
    cpu.relax()


@a64.insn("1101010100 0 00 011 0010 0000 010 11111", "wfe")
def wfe(cpu: Cpu) -> None:
    # It may complete at any time (D1.6.1), so it only says that this vCPU waits for another one.
    cpu.relax()


@a64.insn("1101010100 0 00 011 0010 0000 011 11111", "wfi")
def wfi(cpu: Cpu) -> None:
    with when(wakes(cpu) == 0):
        cpu.leave("halt")
    cpu.sync()


@a64.insn("1101010100 0 00 011 0010 imm[6:0] 11111", "hint {imm:i}")
def hint(cpu: Cpu, imm: Value) -> None:
    """Those without a name of their own do nothing."""
