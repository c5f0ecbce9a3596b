"""Decimal arithmetic (volume 2), in all code but that of 64 bits: DAA, DAS, AAA, AAS, AAM, AAD.

OF, which is undefined, becomes 0; AAD sets the flags of its addition; those that the others leave
undefined follow from AL.
"""

from __future__ import annotations

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu, slowly

from ..describing import insn
from ..fields import AX
from ..flags import added, flags_of, set_flags
from ..operands import Register
from ..traps import divide_error


def _packed(row: str, name: str, sign: int) -> None:
    @insn(f"{row} i64", name)
    def adjust(cpu: Cpu, **_: Value) -> None:
        al = Register(cpu, const(AX, 4), 8)
        old = al.read()
        low = const(9, 8).ult(old & 15) | cpu.af
        high = const(0x99, 8).ult(old) | cpu.cf
        change = select(low, const(6, 8), 0)
        borrowed = low & old.ult(6)
        result = old + change if sign > 0 else old - change
        step = select(high, const(0x60, 8), 0)
        result = result + step if sign > 0 else result - step
        al.write(result)
        carry = high | borrowed if sign < 0 else high
        set_flags(cpu, flags_of(result, carry, 0, low))


_packed("27", "daa", 1)
_packed("2f", "das", -1)


def _unpacked(row: str, name: str, sign: int) -> None:
    @insn(f"{row} i64", name)
    def adjust(cpu: Cpu, **_: Value) -> None:
        ax = Register(cpu, const(AX, 4), 16)
        old = ax.read()
        over = const(9, 16).ult(old & 15) | cpu.af
        changed = old + 0x106 if sign > 0 else old - 0x106
        result = select(over, changed, old) & 0xFF0F
        ax.write(result)
        set_flags(cpu, flags_of(result.trunc(8), over, 0, over))


_unpacked("37", "aaa", 1)
_unpacked("3f", "aas", -1)


@insn("d4 ib i64", "aam {:Ib}")
def aam(cpu: Cpu, **fields: Value) -> None:
    ax, base = Register(cpu, const(AX, 4), 16), fields["imm"].trunc(8)
    with slowly(base == 0):
        divide_error(cpu)
    al = ax.read().trunc(8)
    high = pure("udiv", al, select(base == 0, 1, base))
    low = al - high * base
    ax.write(high.zext(16) << 8 | low.zext(16))
    set_flags(cpu, flags_of(low, 0, 0, 0))


@insn("d5 ib i64", "aad {:Ib}")
def aad(cpu: Cpu, **fields: Value) -> None:
    ax = Register(cpu, const(AX, 4), 16)
    low, high = ax.read().trunc(8), ax.read()[15:8]
    total, flags = added(low, high * fields["imm"].trunc(8))
    ax.write(total.zext(16))
    set_flags(cpu, flags)
