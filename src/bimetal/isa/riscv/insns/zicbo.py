"""Zicbom and Zicboz: cache-block operations (volume I, chapter 19).

Blocks are of 64 bytes. Deviation: memory is coherent with every device, so management
instructions do nothing once they are permitted; they do not look at the address.
"""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly
from ..state import rv64
from ..traps import MACHINE, USER, illegal

BLOCK = 64

# Fields of menvcfg and senvcfg (I 19.6): CBIE, CBCFE, CBZE.
INVALIDATE, CLEAN_OR_FLUSH, ZERO = 3 << 4, 1 << 6, 1 << 7


def _permitted(cpu: Cpu, field: int) -> None:
    below_machine = (cpu.priv != MACHINE) & ((cpu.menvcfg & field) == 0)
    in_user = (cpu.priv == USER) & ((cpu.senvcfg & field) == 0)
    with slowly(below_machine | in_user):
        illegal(cpu)


def _management(name: str, code: str, field: int) -> None:
    @rv64.insn(f"{code} rs1:5 010 00000 0001111", f"{name} ({{rs1:x}})", extension="zicbom")
    def meaning(cpu: Cpu, rs1: Value) -> None:
        _permitted(cpu, field)


_management("cbo.inval", "000000000000", INVALIDATE)
_management("cbo.clean", "000000000001", CLEAN_OR_FLUSH)
_management("cbo.flush", "000000000010", CLEAN_OR_FLUSH)


@rv64.insn(
    "000000000100 rs1:5 010 00000 0001111",
    "cbo.zero ({rs1:x})",
    extension="zicboz",
    restartable=True,
)
def cbo_zero(cpu: Cpu, rs1: Value) -> None:
    _permitted(cpu, ZERO)
    block = cpu.x[rs1] & ~(BLOCK - 1)
    for offset in range(0, BLOCK, 8):
        cpu.store(block + offset, const(0, 64))
