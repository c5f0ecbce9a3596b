"""Atomic updates and barriers (Book II, 4.5 and 4.6)."""

from __future__ import annotations

from bimetal.ir.value import Value
from bimetal.isa.trace import Cpu, when

from .insns import base, in_both_orders
from .state import ppc

__all__ = ["FETCH"]

FETCH = ("add", "xor", "or", "and", "umax", "max", "umin", "min", "xchg")
"""What LWAT and LDAT do, by their function code."""


def _fetch_and(width: int, letter: str, row: str, code: int) -> None:
    """The operand is in the register behind the one for what was there."""

    @in_both_orders(
        f"011111 RT:5 RA:5 {code:05b} {row} 0",
        f"l{letter}at {{RT:r}}, {{RA:r0}}, {code}",
    )
    def update(cpu: Cpu, big: bool, RT: Value, RA: Value) -> None:
        operand = cpu.r[RT + 1].trunc(width)
        cpu.r[RT] = cpu.amo(FETCH[code], base(cpu, RA), operand, big_endian=big).zext(64)


for _code in range(len(FETCH)):
    _fetch_and(32, "w", "1001000110", _code)
    _fetch_and(64, "d", "1001100110", _code)


@ppc.insn("011111 000 L:2 00000 00000 1001010110 0", "sync {L}")
def sync(cpu: Cpu, L: Value) -> None:
    """Heavyweight, for page tables too, or (1) lightweight: a load may pass earlier stores."""
    with when(L != 1) as heavy:
        cpu.fence()
        with heavy.otherwise():
            cpu.fence(full=False)
