"""Interrupts in real mode, and the instructions of the system (Book III, chapters 3, 4 and 7)."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu

from .floating import set_rounding
from .insns import ALIGNMENT, PROGRAM
from .state import BIG, LITTLE, LITTLE_ENDIAN, ppc

__all__ = ["EXTERNAL", "EXTERNAL_ENABLE", "MACHINE_CHECK", "SYSTEM_CALL"]

MACHINE_CHECK, EXTERNAL, SYSTEM_CALL = 0x200, 0x500, 0xC00
SF, EXTERNAL_ENABLE = 1 << 63, 1 << 15  # of MSR
ILLEGAL = 1 << 19  # of SRR1
READ_OK, WRITE_OK = 1, 2


@ppc.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """Real mode: addresses are what they are."""
    return (va & ~0xFFF) | READ_OK | WRITE_OK


@ppc.routine(returns=8)
def decode_mode(cpu: Cpu) -> Value:
    return select((cpu.msr & LITTLE_ENDIAN) != 0, const(LITTLE, 8), BIG)


@ppc.routine(returns=8)
def context(cpu: Cpu) -> Value:
    return decode_mode(cpu)


@ppc.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    return current


@ppc.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    return const(0, 64)


@ppc.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    return const(0, 64)


@ppc.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    return const(0, 8)


@ppc.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    cpu.trap(MACHINE_CHECK, va)


@ppc.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    cpu.trap(ALIGNMENT, va)


@ppc.routine()
def undefined(cpu: Cpu) -> None:
    cpu.trap(PROGRAM, ILLEGAL)


@ppc.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """SRR0 is the instruction, or the next one for sc; handlers run in LPCR.ILE's byte order."""
    status = select(cause == PROGRAM, cpu.msr | value, cpu.msr)
    following = select(cause == SYSTEM_CALL, cpu.pc + 4, cpu.pc)
    address = (cause == ALIGNMENT) | (cause == MACHINE_CHECK)
    cpu.sync()
    cpu.dar = select(address, value, cpu.dar)
    cpu.srr0, cpu.srr1 = following, status
    cpu.msr = select(cpu.ile != 0, const(SF | LITTLE_ENDIAN, 64), SF)
    return cause


@ppc.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    asked = (cpu.line[0] != 0) & ((cpu.msr & EXTERNAL_ENABLE) != 0)
    return select(asked, const(EXTERNAL, 64), 0)


@ppc.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    awaited: Value = cpu.line[0] != 0
    return awaited


@ppc.routine()
def poll_timer(cpu: Cpu) -> None:
    pass


@ppc.routine()
def renew(cpu: Cpu) -> None:
    set_rounding(cpu)


@ppc.insn("010001 00000 00000 0000 LEV:7 000 1 0", "sc {LEV}")
def sc(cpu: Cpu, LEV: Value) -> None:
    cpu.trap(SYSTEM_CALL)


@ppc.insn("010011 00000 00000 00000 0000010010 0", "rfid")
def rfid(cpu: Cpu) -> None:
    target, status = cpu.srr0 & ~3, cpu.srr1
    cpu.sync()
    cpu.msr = status
    cpu.jump(target)


@ppc.insn("011111 RS:5 0000 0 00000 0010110010 0", "mtmsrd {RS:r}")
def mtmsrd(cpu: Cpu, RS: Value) -> None:
    """All of MSR but LE, which rfid alone changes (5.4.3)."""
    new, old = cpu.r[RS], cpu.msr
    cpu.sync()
    cpu.msr = (new & ~LITTLE_ENDIAN) | (old & LITTLE_ENDIAN)


@ppc.insn("011111 RT:5 00000 00000 0001010011 0", "mfmsr {RT:r}")
def mfmsr(cpu: Cpu, RT: Value) -> None:
    cpu.r[RT] = cpu.msr
