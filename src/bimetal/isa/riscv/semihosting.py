"""Semihosting calls (RISC-V Semihosting, version 0.4, 2.1): an ``ebreak`` between two instructions
that do nothing, by which a program calls its debugger or the host.

The operation is in a0 and its parameter in a1. As in QEMU, calls from user mode are ignored.
"""

from __future__ import annotations

from ...ir.value import Value, const
from ..contract import FETCH, PAGE
from ..trace import Cpu, ret, when
from .mmu import translate
from .state import rv64
from .traps import USER

__all__ = ["asks_host"]

BEFORE, BEHIND = 0x01F0_1013, 0x4070_5013  # slli x0, x0, 31 and srai x0, x0, 7


def _word(cpu: Cpu, place: Value) -> Value:
    """The 32 bits at a physical address, which is a multiple of two."""
    low, high = cpu.load_physical(place, 16), cpu.load_physical(place + 2, 16)
    word: Value = low.zext(32) | high.zext(32) << 16
    return word


@rv64.routine(returns=1)
def asks_host(cpu: Cpu) -> Value:
    """Whether the ``ebreak`` at pc is such a call; all three stand in one page."""
    offset = cpu.pc & PAGE - 1
    alone = offset.ult(4) | offset.uge(PAGE - 7)
    with when(alone | (cpu.semihosting == 0) | (cpu.priv == USER)):
        ret(const(0, 1))
    place = translate(cpu, cpu.pc, FETCH) & ~(PAGE - 1) | offset
    value: Value = (_word(cpu, place - 4) == BEFORE) & (_word(cpu, place + 4) == BEHIND)
    return value
