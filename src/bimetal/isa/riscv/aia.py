"""Smaia and Ssaia: the CSRs of the Advanced Interrupt Architecture (version 1.0, chapters 2, 3 and
5), which a hart has if there is an IMSIC on the board.

The registers of interrupt files are the IMSIC's: accesses to mtopei and stopei, and through mireg
and sireg, leave for it. Priorities of major interrupts cannot be configured: iprio is read-only
zero, so the priority that mtopi and stopi tell is always 1. No interrupt is filtered or virtual:
mvien is read-only zero.
"""

from __future__ import annotations

from ...ir.requests import RegisterUse
from ...ir.value import Value, const, select
from ..contract import RegisterStore
from ..trace import Cpu, ret, when
from .csr import declare, stored, window
from .csrs import read_mip, write_mip
from .state import rv64
from .traps import LINES, STCE, STIP, illegal

__all__ = ["access_window", "reset"]

MIREG, MTOPEI, SIREG, STOPEI = 0x351, 0x35C, 0x151, 0x15C
MACHINE_LEVEL = 9
"""The bit of these numbers that is set in those of M-mode."""
FIRST, FIRST_PAIR, LAST = 0x70, 0x80, 0xFF
"""What selects registers of interrupt files; from the pairs on, only even numbers do (3.8)."""
PRIORITY = 1
SOFTWARE = 1 << 1 | 1 << 9
"""The bits of mvip that are those of mip (5.3)."""


def reset(state: RegisterStore, imsic: bool) -> None:
    """Have a hart with or without an IMSIC."""
    state.set("imsic", 0, int(imsic))


def _need_imsic(cpu: Cpu) -> None:
    with when(cpu.imsic == 0):
        illegal(cpu)


def _top(ready: Value) -> Value:
    """The first of these interrupts as mtopi and stopi tell of it (5.2.2, 5.4.2)."""
    top = const(0, 64)
    for bit in reversed(LINES):
        top = select(ready[bit] == 1, const(bit << 16 | PRIORITY, 64), top)
    return top


def _mvip(cpu: Cpu) -> Value:
    bits = (cpu.mip_soft & (SOFTWARE | STIP)) | cpu.line[1].zext(64) << 1
    return select((cpu.menvcfg & STCE) != 0, bits & ~STIP, bits)


def _ignored(cpu: Cpu, value: Value) -> None:
    """Read-only bits."""


stored(0x350, "miselect", 0xFF, _need_imsic)
stored(0x150, "siselect", 0x1FF, _need_imsic)
declare(0x308, "mvien", lambda cpu: const(0, 64), _ignored, _need_imsic)
declare(0x309, "mvip", _mvip, write_mip, _need_imsic)
declare(0xFB0, "mtopi", lambda cpu: _top(read_mip(cpu) & cpu.mie & ~cpu.mideleg), check=_need_imsic)
declare(0xDB0, "stopi", lambda cpu: _top(read_mip(cpu) & cpu.mie & cpu.mideleg), check=_need_imsic)
for _number, _name in (
    (MIREG, "mireg"), (MTOPEI, "mtopei"), (SIREG, "sireg"), (STOPEI, "stopei"),
):  # fmt: skip
    window(_number, _name)


@rv64.routine(returns=64, csr=12)
def file_register(cpu: Cpu, csr: Value) -> Value:
    """What `RegisterAccess` calls the register that such a CSR reaches now; 0 for one of iprio.
    Illegal-instruction if there is none."""
    _need_imsic(cpu)
    with when((csr == MTOPEI) | (csr == STOPEI)):
        ret(csr.zext(64))
    chosen = select(csr[MACHINE_LEVEL] == 1, cpu.miselect, cpu.siselect)
    with when(chosen.uge(0x30) & chosen.ult(0x40) & (chosen[0] == 0)):
        ret(const(0, 64))
    even = chosen.ult(FIRST_PAIR) | (chosen[0] == 0)
    with when(chosen.uge(FIRST) & chosen.ult(LAST + 1) & even):
        ret(chosen << 12 | csr.zext(64))
    illegal(cpu)
    return const(0, 64)


@rv64.routine(returns=64, other=1, use=8)
def use_of(cpu: Cpu, other: Value, use: Value) -> Value:
    """What an instruction does that exchanges, sets or clears (``use``) if it also does the
    ``other`` half, reading for the first and writing for the others."""
    half = select(use == RegisterUse.EXCHANGE, const(RegisterUse.WRITE, 64), RegisterUse.READ)
    return select(other == 1, use.zext(64), half)


def access_window(
    cpu: Cpu, csr: Value, rd: Value, source: Value, other: Value, use: RegisterUse
) -> None:
    """A CSR instruction on a CSR that is a window; see `use_of`."""
    number = file_register(cpu, csr)
    with when(number != 0) as there:
        cpu.leave("register", number, use_of(cpu, other, const(use, 8)), source, rd.zext(64))
        with there.otherwise():
            cpu.x[rd] = const(0, 64)
