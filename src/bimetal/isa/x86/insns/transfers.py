"""Far jumps, calls and returns, interrupts by instructions, IRET, and the fast ways in and out of
kernels (volume 2)."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, pin, ret, slowly, when

from ..canonical import non_canonical
from ..control import LMA, PE, SCE
from ..cpuid import is_amd
from ..debug import debug_when_asked, may_resume, step_behind
from ..describing import insn
from ..descriptors import (
    BASE_32,
    in_real_mode,
    in_v86,
    is_long,
    set_real_segment,
)  # fmt: skip
from ..fields import CX, DX, SP
from ..flags import (
    AC,
    ALWAYS,
    DF,
    ID,
    IF,
    IOPL,
    KNOWN,
    NT,
    RF,
    TF,
    VIF,
    VIP,
    VM,
    rflags,
    set_arithmetic_flags,
)  # fmt: skip
from ..jumps import following
from ..modes import derive
from ..operands import Fields, address_of, operand_width
from ..privilege import iopl_of, need_ring_0
from ..returns import far_return, return_checked, return_outer
from ..state import CS, DS, ES, FS, GS, SS, TR, x86
from ..system_access import system_load
from ..tasks import RETURN, switch_task
from ..transfers import code_address, far_call, far_jump, pop_item, set_code, stack_width
from ..traps import (
    BREAKPOINT,
    DEBUG,
    OVERFLOW,
    UNASKED,
    general_protection,
    software,
    undefined_opcode,
)  # fmt: skip

WANTED = TF | IF | DF | IOPL | NT | AC | ID | VIF | VIP


def _size(fields: Fields) -> Value:
    return fields["osize"].zext(8)


def _go(cpu: Cpu, to: Value) -> None:
    cpu.sync()
    cpu.jump(to)


def _immediate(fields: Fields) -> tuple[Value, Value]:
    """Offset and selector of a far pointer in the instruction."""
    small = fields["osize"] == 0
    offset = fields["imm"].zext(64)
    selector = select(small, fields["imm"].lsr(16), fields["high"]).trunc(16)
    return select(small, offset & 0xFFFF, offset), selector


def _in_memory(cpu: Cpu, fields: Fields) -> tuple[Value, Value]:
    width = operand_width(fields)
    address = address_of(cpu, fields, width // 8 + 2)
    return cpu.load(address, width).zext(64), cpu.load(address + width // 8, 16)


def _far(row: str, text: str, calls: bool) -> None:
    @insn(row, text, restartable=True)
    def transfer(cpu: Cpu, **fields: Value) -> None:
        direct = row[:2] in ("9a", "ea")
        offset, selector = _immediate(fields) if direct else _in_memory(cpu, fields)
        routine = far_call if calls else far_jump
        _go(cpu, routine(cpu, selector, offset, _size(fields), following(cpu, fields)))


_far("ea ap i64", "jmp {:Ap}", False)
_far("9a ap i64", "call {:Ap}", True)
_far("ff /5 mem", "jmp {:Mp}", False)
_far("ff /3 mem", "call {:Mp}", True)


@insn("cb", "retf", restartable=True)
def retf(cpu: Cpu, **fields: Value) -> None:
    _go(cpu, far_return(cpu, _size(fields), 0))


@insn("ca iw", "retf {:Iw}", restartable=True)
def retf_dropping(cpu: Cpu, **fields: Value) -> None:
    _go(cpu, far_return(cpu, _size(fields), fields["imm"].zext(64) & 0xFFFF))


# -- interrupts


@insn("cd ib", "int {:Ib}")
def int_n(cpu: Cpu, **fields: Value) -> None:
    with slowly(in_v86(cpu) & (iopl_of(cpu) != 3)):
        general_protection(cpu)
    software(cpu, fields["imm"].zext(64) & 0xFF)


@insn("cc", "int3")
def int3(cpu: Cpu, **_: Value) -> None:
    software(cpu, BREAKPOINT)


@insn("f1", "int1")
def icebp(cpu: Cpu, **_: Value) -> None:
    software(cpu, DEBUG, UNASKED)


@insn("ce i64", "into")
def into(cpu: Cpu, **_: Value) -> None:
    with when(cpu.of == 1):
        software(cpu, OVERFLOW)


def _changeable(cpu: Cpu) -> Value:
    """The flags that a level may set: IOPL at level 0 alone, IF up to IOPL."""
    inner, allowed = cpu.cpl == 0, ~iopl_of(cpu).ult(cpu.cpl)
    bits = const(WANTED & ~(IF | IOPL | VIF | VIP), 32)
    bits = bits | select(inner, const(IOPL | VIF | VIP, 32), 0) | may_resume(cpu)
    return bits | select(allowed, const(IF, 32), 0)


@x86.routine(value=64, osize=8)
def set_returned_flags(cpu: Cpu, value: Value, osize: Value) -> None:
    """Set the flags as IRET does, of which 16 bits leave the others."""
    set_arithmetic_flags(cpu, value)
    bits = _changeable(cpu) & select(osize == 0, const(0xFFFF, 32), 0xFFFF_FFFF)
    cpu.system_flags = (cpu.system_flags & ~bits) | (value.trunc(32) & bits)


@x86.routine(returns=64, osize=8, next_offset=64)
def return_from_interrupt(cpu: Cpu, osize: Value, next_offset: Value) -> Value:
    """IRET (volume 2)."""
    real, v86 = in_real_mode(cpu), in_v86(cpu)
    with when(v86 & (iopl_of(cpu) != 3)):
        general_protection(cpu)
    long = cpu.decoding == 0
    nested = ~real & ~v86 & ((cpu.system_flags & NT) != 0)
    with when(nested):
        with when(is_long(cpu)):
            general_protection(cpu)
        back = system_load(cpu, cpu.base[TR], 16)
        ret(switch_task(cpu, back, RETURN, next_offset, 0, 0))
    mask = stack_width(cpu, cpu.attributes[SS], long)
    base = select(long, const(0, 64), cpu.base[SS])
    size, top = const(2, 64) << osize.zext(64), cpu.r[SP]
    items = [pop_item(cpu, base + ((top + size * n) & mask), osize) for n in range(3)]
    offset, selector, flags = items[0], items[1].trunc(16), items[2]
    after = top + size * 3
    cut = select(mask == 0xFFFF, (top & ~0xFFFF) | (after & 0xFFFF), after & mask)
    with when(real | v86):
        cpu.nmi_blocked = const(0, 8)
        cpu.selector[CS], cpu.base[CS] = selector, selector.zext(64) << 4
        cpu.r[SP] = cut
        kept = select(v86, const(IOPL, 32), 0)
        old = cpu.system_flags
        set_returned_flags(cpu, flags, osize)
        cpu.system_flags = (cpu.system_flags & ~kept) | (old & kept)
        derive(cpu)
        ret(cpu.base[CS] + (offset & BASE_32))
    with when(((flags & VM) != 0) & (cpu.cpl == 0) & ~is_long(cpu) & (osize == 1)):
        ret(return_to_v86(cpu, offset, selector, flags))
    d = return_checked(cpu, selector)
    to = code_address(cpu, d, offset)
    level = (selector & 3).trunc(8)
    inner = level == cpu.cpl
    with when(inner & ~long):
        cpu.nmi_blocked = const(0, 8)
        set_returned_flags(cpu, flags, osize)
        set_code(cpu, selector, d, level)
        cpu.r[SP] = cut
        derive(cpu)
        ret(to)
    pointer = pop_item(cpu, base + (after & mask), osize)
    ss = pop_item(cpu, base + ((after + size) & mask), osize).trunc(16)
    bits = _changeable(cpu) & select(osize == 0, const(0xFFFF, 32), 0xFFFF_FFFF)
    return_outer(cpu, selector, d, ss, pointer)
    cpu.nmi_blocked = const(0, 8)
    set_arithmetic_flags(cpu, flags)
    cpu.system_flags = (cpu.system_flags & ~bits) | (flags.trunc(32) & bits)
    debug_when_asked(cpu)
    return to


@x86.routine(returns=64, offset=64, selector=16, flags=64)
def return_to_v86(cpu: Cpu, offset: Value, selector: Value, flags: Value) -> Value:
    """Go on in virtual-8086 mode: with a stack and all data segments from the frame."""
    mask = stack_width(cpu, cpu.attributes[SS], const(0, 1))
    base, top = cpu.base[SS], cpu.r[SP]
    items = [pop_item(cpu, base + ((top + 4 * n) & mask), const(1, 8)) for n in range(3, 9)]
    set_arithmetic_flags(cpu, flags)
    cpu.system_flags = flags.trunc(32) & (const(KNOWN & ~RF, 32) | may_resume(cpu))
    for seg, item in ((SS, items[1]), (ES, items[2]), (DS, items[3]), (FS, items[4]),
                      (GS, items[5])):  # fmt: skip
        set_real_segment(cpu, seg, item.trunc(16))
    set_real_segment(cpu, CS, selector)
    cpu.r[SP] = items[0] & BASE_32
    derive(cpu)
    return (selector.zext(64) << 4) + (offset & 0xFFFF)


@insn("cf", "iret{:isz}", restartable=True)
def iret(cpu: Cpu, **fields: Value) -> None:
    _go(cpu, return_from_interrupt(cpu, _size(fields), following(cpu, fields)))


# -- into kernels and out


def _flat(cpu: Cpu, seg: int, selector: Value, rights: Value | int) -> None:
    cpu.selector[seg], cpu.base[seg], cpu.limit[seg] = selector, 0, 0xFFFF_FFFF
    cpu.attributes[seg] = rights


KERNEL_CODE, KERNEL_CODE_32, KERNEL_DATA = 0xA09B, 0xC09B, 0xC093
USER_CODE, USER_CODE_32, USER_DATA = 0xA0FB, 0xC0FB, 0xC0F3


@insn("0f 05", "syscall", extension="syscall")
def syscall(cpu: Cpu, **fields: Value) -> None:
    """AMD's processors have it in compatibility mode too (APM volume 2, 6.1.1)."""
    with slowly(((cpu.efer & SCE) == 0) | ((cpu.cr0 & PE) == 0) | ((cpu.efer & LMA) == 0)):
        undefined_opcode(cpu)
    with slowly((cpu.decoding != 0) & ~is_amd(cpu)):
        undefined_opcode(cpu)
    star = cpu.star
    flags, to = rflags(cpu), select(cpu.decoding == 0, cpu.lstar, cpu.cstar)
    cpu.r[CX] = following(cpu, fields)
    cpu.r[11] = flags & ~RF
    kept = flags.trunc(32) & ~cpu.sfmask.trunc(32) & ~RF
    set_arithmetic_flags(cpu, kept.zext(64))
    cpu.system_flags = kept & KNOWN & ~ALWAYS
    selector = star[47:32]
    _flat(cpu, CS, selector & 0xFFFC, KERNEL_CODE)
    _flat(cpu, SS, selector + 8, KERNEL_DATA)
    derive(cpu)
    step_behind(cpu)
    _go(cpu, to)


@insn("0f 07", "sysret{:isz}", extension="syscall")
def sysret(cpu: Cpu, **fields: Value) -> None:
    wide = pin(fields["osize"]) == 2
    with slowly(((cpu.efer & SCE) == 0) | (cpu.decoding != 0)):
        undefined_opcode(cpu)
    need_ring_0(cpu)
    to = cpu.r[CX]
    if wide:
        with slowly(non_canonical(cpu, to)):
            general_protection(cpu)
    else:
        to = to & BASE_32
    flags = cpu.r[11]
    set_arithmetic_flags(cpu, flags)
    cpu.system_flags = flags.trunc(32) & KNOWN & ~(RF | VM | ALWAYS)
    selector = cpu.star[63:48]
    code = USER_CODE if wide else USER_CODE_32
    _flat(cpu, CS, (selector + (16 if wide else 0)) | 3, code)
    _flat(cpu, SS, (selector + 8) | 3, USER_DATA)
    derive(cpu)
    step_behind(cpu)
    _go(cpu, to)


def _need_intels_long_mode(cpu: Cpu) -> None:
    """AMD's processors have SYSENTER and SYSEXIT in legacy mode alone (APM volume 2, 6.1.2)."""
    with slowly(is_long(cpu) & is_amd(cpu)):
        undefined_opcode(cpu)


@insn("0f 34", "sysenter", extension="sep")
def sysenter(cpu: Cpu, **_: Value) -> None:
    _need_intels_long_mode(cpu)
    selector = cpu.sysenter_cs.trunc(16)
    with slowly(((cpu.cr0 & PE) == 0) | ((selector & 0xFFFC) == 0)):
        general_protection(cpu)
    long = is_long(cpu)
    cpu.system_flags = cpu.system_flags & ~(VM | IF | RF)
    code = select(long, const(KERNEL_CODE, 32), KERNEL_CODE_32)
    _flat(cpu, CS, selector & 0xFFFC, code)
    _flat(cpu, SS, (selector & 0xFFFC) + 8, KERNEL_DATA)
    cpu.r[SP] = select(long, cpu.sysenter_esp, cpu.sysenter_esp & BASE_32)
    derive(cpu)
    _go(cpu, select(long, cpu.sysenter_eip, cpu.sysenter_eip & BASE_32))


@insn("0f 35", "sysexit{:isz}", extension="sep")
def sysexit(cpu: Cpu, **fields: Value) -> None:
    _need_intels_long_mode(cpu)
    wide = pin(fields["osize"]) == 2
    selector = cpu.sysenter_cs.trunc(16) & 0xFFFC
    with slowly((selector == 0) | ((cpu.cr0 & PE) == 0)):
        general_protection(cpu)
    need_ring_0(cpu)
    to, pointer = cpu.r[DX], cpu.r[CX]
    if not wide:
        to, pointer = to & BASE_32, pointer & BASE_32
    step = 32 if wide else 16
    _flat(cpu, CS, (selector + step) | 3, USER_CODE if wide else USER_CODE_32)
    _flat(cpu, SS, (selector + step + 8) | 3, USER_DATA)
    cpu.r[SP] = pointer
    derive(cpu)
    _go(cpu, to)
