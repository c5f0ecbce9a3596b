"""Hints (C4.1.93.3): instructions that advise the processor and change no register."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu, slowly, when
from ..exceptions import wakes
from ..hosts import ruling_control
from ..state import a64
from ..syndromes import EL0, NO_CONDITION, WAIT, syndrome, trapped_by_hypervisor


def _hint(name: str, number: int) -> None:
    @a64.insn(f"1101010100 0 00 011 0010 {number >> 3:04b} {number & 7:03b} 11111", name)
    def meaning(cpu: Cpu) -> None:
        """Nothing to do."""


for _name, _number in (("nop", 0), ("sev", 4), ("sevl", 5)):
    _hint(_name, _number)


@a64.insn("1101010100 0 00 011 0010 0000 001 11111", "yield")
def yield_(cpu: Cpu) -> None:
    cpu.relax()


NTWI = 1 << 16  # of SCTLR_ELx: EL0 may wait for interrupts
TWI = 1 << 13  # of HCR_EL2: EL0 and EL1 may not


@a64.insn("1101010100 0 00 011 0010 0000 010 11111", "wfe")
def wfe(cpu: Cpu) -> None:
    # It may complete at any time (D1.6.1), so it only says that this vCPU waits for another one.
    # Nor is a trap of it, if asked for, ever sure to be taken.
    cpu.relax()


@a64.insn("1101010100 0 00 011 0010 0000 011 11111", "wfi")
def wfi(cpu: Cpu) -> None:
    with when(wakes(cpu) == 0):
        # Only a wait that would be one is trapped (D1.6.2).
        with slowly((cpu.el == EL0) & ((ruling_control(cpu) & NTWI) == 0)):
            cpu.trap(syndrome(WAIT, NO_CONDITION))
        trapped_by_hypervisor(cpu, TWI, NO_CONDITION, WAIT)
        cpu.leave("halt")
    cpu.sync()


@a64.insn("1101010100 0 00 011 0010 imm[6:0] 11111", "hint {imm:i}")
def hint(cpu: Cpu, imm: Value) -> None:
    """Those without a name of their own do nothing."""
