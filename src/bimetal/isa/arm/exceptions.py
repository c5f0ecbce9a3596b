"""Exceptions (D1.3): syndromes, and how a handler is entered.

The cause of a trap is the syndrome as it stands in ESR_ELx, the value what FAR_ELx gets; what else
has to be known is in bits above the syndrome. This is the part that a vCPU without EL2 needs.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .state import FIQ, IRQ, a64

__all__ = [
    "DATA_ABORT", "EL1", "FETCH_ABORT", "SERROR", "UNKNOWN", "syndrome", "undefined",
]  # fmt: skip

EL0, EL1, EL2, EL3 = range(4)

# Exception classes (D1.3.5, table D1-6).
UNKNOWN = 0x00
FETCH_ABORT = 0x20  # from a lower exception level; one more from the same
DATA_ABORT = 0x24
SERROR = 0x2F
IL = 1 << 25
# Kinds of vectors (D1.3.1.6), above the syndrome: synchronous, IRQ, FIQ, SError.
VECTOR_SHIFT = 40
SYNCHRONOUS, OF_IRQ, OF_FIQ = 0, 1, 2
# Interrupts have no syndrome; this keeps their cause from being 0.
TAKEN = 1 << 48


def syndrome(exception_class: int, iss: Value | int = 0) -> Value:
    """ESR_ELx of an exception that a 32-bit instruction raises."""
    base = const(exception_class << 26 | IL, 64)
    return base | iss if isinstance(iss, Value) else base | const(iss, 64)


def undefined(cpu: Cpu) -> None:
    """Raise the exception of an undefined instruction."""
    cpu.trap(syndrome(UNKNOWN))


@a64.routine(returns=64)
def pstate(cpu: Cpu) -> Value:
    """PSTATE as SPSR_ELx holds it (C5.2.19)."""
    value: Value = const(0, 64)
    for bit, flag in ((31, cpu.nf), (30, cpu.zf), (29, cpu.cf), (28, cpu.vf)):
        value = value | flag.zext(64) << bit
    value = value | cpu.daif.zext(64) << 6 | cpu.el.zext(64) << 2 | cpu.spsel.zext(64)
    value = value | cpu.pan.zext(64) << 22 | cpu.ss.zext(64) << 21 | cpu.il.zext(64) << 20
    return value


@a64.routine(el=8, spsel=8)
def change_level(cpu: Cpu, el: Value, spsel: Value) -> None:
    """Go to an exception level, with the stack pointer that belongs to it."""
    cpu.sp_el[select(cpu.spsel == 0, const(0, 8), cpu.el).trunc(2)] = cpu.sp
    cpu.el, cpu.spsel = el, spsel
    cpu.sp = cpu.sp_el[select(spsel == 0, const(0, 8), el).trunc(2)]


@a64.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Enter the handler at EL1 of an exception of the instruction at ``pc``; the new ``pc``."""
    cpu.sync()
    saved = pstate(cpu)
    kind = cause.lsr(VECTOR_SHIFT) & 3
    with when(kind == SYNCHRONOUS):
        lower = cpu.el == EL0
        has_level = (cause & 0x3F << 26 == FETCH_ABORT << 26) | (
            cause & 0x3F << 26 == DATA_ABORT << 26
        )
        same = select(has_level & ~lower, const(1 << 26, 64), 0)
        cpu.esr_el[1] = (cause & 0xFFFF_FFFF) + same
        cpu.far_el[1] = value
    offset = select(cpu.el == EL0, const(0x400, 64), select(cpu.spsel == 0, const(0, 64), 0x200))
    cpu.elr_el[1], cpu.spsr_el[1] = cpu.pc, saved
    change_level(cpu, const(EL1, 8), const(1, 8))
    cpu.daif = const(15, 8)
    vector: Value = cpu.vbar_el[1] + offset + (kind << 7)
    return vector


@a64.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    """The interrupt to take now, or 0: FIQ before IRQ."""
    fiq = (cpu.line[FIQ] != 0) & ((cpu.daif & 1) == 0)
    irq = (cpu.line[IRQ] != 0) & ((cpu.daif & 2) == 0)
    of = select(fiq, const(OF_FIQ, 64), OF_IRQ) << VECTOR_SHIFT
    return select(fiq | irq, of | TAKEN, 0)


@a64.routine()
def poll_timer(cpu: Cpu) -> None:
    """There are no timers yet."""


@a64.routine()
def renew(cpu: Cpu) -> None:
    """Nothing follows from other registers yet."""


@a64.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    """The exception level."""
    level: Value = cpu.el
    return level


@a64.routine(name="undefined")
def undefined_instruction(cpu: Cpu) -> None:
    """What an encoding does that no description recognises."""
    undefined(cpu)
