"""Instructions of the system (volume 2): tables, control and debug registers, model-specific
registers, halts."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, pin, slowly, when

from ..canonical import non_canonical
from ..control import DE, EM, MP, PE, TS, TSD
from ..control_registers import write_cr0, write_cr3, write_cr4
from ..cpuid import answer
from ..debug import change_debug, follow_flags, need_no_detection
from ..describing import insn
from ..descriptors import (
    BASE_32,
    base_of,
    descriptor,
    in_real_mode,
    in_v86,
    is_long,
    limit_of,
    raise_for,
    rights_of,
)
from ..fields import AX, BX, CX, DX, too_long
from ..flags import AC, DF, ID, IF, IOPL, KNOWN, NT, RF, TF, VM, rflags, set_arithmetic_flags
from ..msrs import read_msr, tsc, write_msr
from ..operands import Register, address_of, operand, operand_width, pinned_memory
from ..privilege import iopl_of, need_ring_0, need_umip
from ..segments import PRESENT, UNUSABLE
from ..stack import Stack
from ..state import LDTR, TR, x86
from ..tasks import load_task_register
from ..traps import NOT_PRESENT, PROTECTION, general_protection, undefined_opcode
from ..vector_state import check_vectors

TASK_PRIORITY = 0x808
"""CR8 is a register of the local APIC."""


@x86.insn(too_long(), "too long", name="too_long")
def longer_than_15_bytes(cpu: Cpu, **_: Value) -> None:
    general_protection(cpu)


# -- tables


def _store_table(digit: int, name: str) -> None:
    @insn(f"0f 01 /{digit} mem", f"s{name} {{:M}}", restartable=True)
    def store(cpu: Cpu, **fields: Value) -> None:
        need_umip(cpu)
        register = "gdtr" if name == "gdt" else "idtr"
        limit, base = getattr(cpu, f"{register}_limit"), getattr(cpu, f"{register}_base")
        wide = pin(fields["long"])
        address = address_of(cpu, fields, 10 if wide else 6, writes=True)
        cpu.store(address, limit)
        cpu.store(address + 2, base if wide else base.trunc(32))


def _load_table(digit: int, name: str) -> None:
    @insn(f"0f 01 /{digit} mem", f"l{name} {{:M}}")
    def load(cpu: Cpu, **fields: Value) -> None:
        need_ring_0(cpu)
        wide = pin(fields["long"])
        address = address_of(cpu, fields, 10 if wide else 6)
        limit = cpu.load(address, 16)
        base = cpu.load(address + 2, 64 if wide else 32).zext(64)
        if not wide:
            base = base & select(fields["osize"] == 0, const(0xFF_FFFF, 64), BASE_32)
        else:
            with slowly(non_canonical(cpu, base)):
                general_protection(cpu)
        register = "gdtr" if name == "gdt" else "idtr"
        setattr(cpu, f"{register}_limit", limit)
        setattr(cpu, f"{register}_base", base)
        cpu.sync()


for _digit, _name in enumerate(("gdt", "idt")):
    _store_table(_digit, _name)
    _load_table(_digit + 2, _name)


def _system_selector(row: str, name: str, seg: int) -> None:
    @insn(row, f"{name} {{:Rv}}")
    def store(cpu: Cpu, **fields: Value) -> None:
        with slowly(in_real_mode(cpu) | in_v86(cpu)):
            undefined_opcode(cpu)
        need_umip(cpu)
        if pinned_memory(fields):
            operand(cpu, "Ew", fields, writes=True).write(cpu.selector[seg])
        else:
            to = Register(cpu, fields["rm"], operand_width(fields))
            to.write(cpu.selector[seg].zext(to.width))


_system_selector("0f 00 /0", "sldt", LDTR)
_system_selector("0f 00 /1", "str", TR)


@x86.routine(selector=16)
def load_ldtr(cpu: Cpu, selector: Value) -> None:
    """LLDT."""
    null = (selector & 0xFFFC) == 0
    d = cpu.local(const(0, 64))
    upper = cpu.local(const(0, 64))
    with when(~null):
        with when(selector[2] == 1):
            raise_for(cpu, PROTECTION, selector)
        d.set(descriptor(cpu, selector, PROTECTION, 0))
        with when((rights_of(d.value) & 0x1F) != 2):
            raise_for(cpu, PROTECTION, selector)
        with when((rights_of(d.value) & PRESENT) == 0):
            raise_for(cpu, NOT_PRESENT, selector)
        with when(is_long(cpu)):
            upper.set(descriptor(cpu, selector + 8, PROTECTION, 0))
    cpu.selector[LDTR], cpu.limit[LDTR] = selector, limit_of(d.value)
    cpu.base[LDTR] = base_of(d.value) | upper.value << 32
    cpu.attributes[LDTR] = select(null, const(UNUSABLE, 32), rights_of(d.value))


def _load_system(row: str, name: str, task: bool) -> None:
    @insn(row, f"{name} {{:Ew}}", restartable=True)
    def load(cpu: Cpu, **fields: Value) -> None:
        with slowly(in_real_mode(cpu) | in_v86(cpu)):
            undefined_opcode(cpu)
        need_ring_0(cpu)
        selector = operand(cpu, "Ew", fields).read()
        (load_task_register if task else load_ldtr)(cpu, selector)
        cpu.sync()


_load_system("0f 00 /2", "lldt", False)
_load_system("0f 00 /3", "ltr", True)


# -- control and debug registers


@insn("0f 01 /4", "smsw {:Rv}")
def smsw(cpu: Cpu, **fields: Value) -> None:
    need_umip(cpu)
    if pinned_memory(fields):
        operand(cpu, "Ew", fields, writes=True).write(cpu.cr0.trunc(16))
    else:
        to = Register(cpu, fields["rm"], operand_width(fields))
        to.write(cpu.cr0.trunc(to.width))


@insn("0f 01 /6", "lmsw {:Ew}", restartable=True)
def lmsw(cpu: Cpu, **fields: Value) -> None:
    """PE can be set but not cleared."""
    need_ring_0(cpu)
    value = operand(cpu, "Ew", fields).read().zext(64) & (PE | MP | EM | TS)
    write_cr0(cpu, (cpu.cr0 & ~(MP | EM | TS)) | value)
    cpu.sync()


@insn("0f 06", "clts")
def clts(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    cpu.cr0 = cpu.cr0 & ~TS
    check_vectors(cpu)
    x86.hooks["renew"](cpu)
    cpu.sync()


@insn("0f 20 /r", "mov {:Ry}, {:Cd}", restartable=True)
def read_control(cpu: Cpu, **fields: Value) -> None:
    need_ring_0(cpu)
    width = 64 if pin(fields["long"]) else 32
    number, found = fields["reg"], cpu.local(const(0, 64))
    known = const(0, 1)
    for n in (0, 2, 3, 4):
        known = known | (number == n)
        with when(number == n):
            found.set(getattr(cpu, f"cr{n}"))
    with when(number == 8):
        found.set(cpu.load_board(TASK_PRIORITY).lsr(4))
    with slowly(~(known | (number == 8))):
        undefined_opcode(cpu)
    Register(cpu, fields["rm"], width).write(found.value.trunc(width))


@insn("0f 22 /r", "mov {:Cd}, {:Ry}", restartable=True)
def write_control(cpu: Cpu, **fields: Value) -> None:
    need_ring_0(cpu)
    width = 64 if pin(fields["long"]) else 32
    number = fields["reg"]
    value = Register(cpu, fields["rm"], width).read().zext(64)
    known = const(0, 1)
    for n, routine in ((0, write_cr0), (3, write_cr3), (4, write_cr4)):
        known = known | (number == n)
        with when(number == n):
            routine(cpu, value)
    with when(number == 2):
        cpu.cr2 = value
    with when(number == 8):
        with when(value.lsr(4) != 0):
            general_protection(cpu)
        cpu.store_board(TASK_PRIORITY, value << 4)
    with slowly(~(known | (number == 2) | (number == 8))):
        undefined_opcode(cpu)
    cpu.sync()


def _debug_number(cpu: Cpu, number: Value) -> Value:
    """DR4 and DR5 are DR6 and DR7, unless CR4.DE says that there are none."""
    old = (number == 4) | (number == 5)
    with slowly(number.uge(8) | (old & ((cpu.cr4 & DE) != 0))):
        undefined_opcode(cpu)
    need_no_detection(cpu)
    return select(old, number + 2, number) & 7


@insn("0f 21 /r", "mov {:Ry}, {:Dd}")
def read_debug(cpu: Cpu, **fields: Value) -> None:
    need_ring_0(cpu)
    width = 64 if pin(fields["long"]) else 32
    value = cpu.dr[_debug_number(cpu, fields["reg"])]
    Register(cpu, fields["rm"], width).write(value.trunc(width))


@insn("0f 23 /r", "mov {:Dd}, {:Ry}")
def write_debug(cpu: Cpu, **fields: Value) -> None:
    need_ring_0(cpu)
    width = 64 if pin(fields["long"]) else 32
    value = Register(cpu, fields["rm"], width).read().zext(64)
    number = _debug_number(cpu, fields["reg"])
    with slowly(number.uge(6) & (value.lsr(32) != 0)):
        general_protection(cpu)
    status = (value & 0xE00F) | 0xFFFF_0FF0
    control = (value & 0xFFFF_23FF) | 0x400
    cpu.dr[number] = select(number == 6, status, select(number == 7, control, value))
    change_debug(cpu)
    cpu.sync()


# -- model-specific registers


@insn("0f 32", "rdmsr", restartable=True, extension="msr")
def rdmsr(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    value = read_msr(cpu, cpu.r[CX].trunc(32))
    cpu.r[AX], cpu.r[DX] = value & BASE_32, value.lsr(32)


@insn("0f 30", "wrmsr", restartable=True, extension="msr")
def wrmsr(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    value = (cpu.r[AX] & BASE_32) | cpu.r[DX] << 32
    write_msr(cpu, cpu.r[CX].trunc(32), value)
    cpu.sync()


def _time(cpu: Cpu) -> None:
    with slowly(((cpu.cr4 & TSD) != 0) & (cpu.cpl != 0)):
        general_protection(cpu)
    value = tsc(cpu)
    cpu.r[AX], cpu.r[DX] = value & BASE_32, value.lsr(32)


@insn("0f 31", "rdtsc", extension="tsc")
def rdtsc(cpu: Cpu, **_: Value) -> None:
    _time(cpu)


@insn("0f 01 f9", "rdtscp", extension="rdtscp")
def rdtscp(cpu: Cpu, **_: Value) -> None:
    _time(cpu)
    cpu.r[CX] = cpu.tsc_aux & BASE_32


@insn("f3 0f c7 /7 reg", "rdpid {:Ry}", extension="rdpid")
def rdpid(cpu: Cpu, **fields: Value) -> None:
    cpu.r[fields["rm"]] = cpu.tsc_aux & BASE_32


@insn("0f a2", "cpuid", restartable=True)
def cpuid(cpu: Cpu, **_: Value) -> None:
    """Like all instructions that serialise, it has what follows fetched anew (volume 3, 9.3)."""
    answer(cpu, cpu.r[AX].trunc(32), cpu.r[CX].trunc(32))
    for n, register in enumerate((AX, BX, CX, DX)):
        cpu.r[register] = cpu.told[n].zext(64)
    cpu.sync()


# -- halts and flags


@insn("f4", "hlt")
def hlt(cpu: Cpu, **_: Value) -> None:
    """What came before it ends it too, as in the shadow of STI."""
    need_ring_0(cpu)
    cpu.sync()
    with when(x86.hooks["wakes"](cpu) == 0):
        cpu.leave("halt")


@insn("fa", "cli")
def cli(cpu: Cpu, **_: Value) -> None:
    with slowly(iopl_of(cpu).ult(cpu.cpl)):
        general_protection(cpu)
    cpu.system_flags = cpu.system_flags & ~IF


@insn("fb", "sti")
def sti(cpu: Cpu, **_: Value) -> None:
    """Interrupts come behind the next instruction."""
    with slowly(iopl_of(cpu).ult(cpu.cpl)):
        general_protection(cpu)
    was = (cpu.system_flags & IF) != 0
    cpu.shadow = select(was, cpu.shadow, cpu.host("instret", 64) + 1)
    cpu.system_flags = cpu.system_flags | IF
    cpu.sync()


@insn("9c", "pushf{:isz}")
def pushf(cpu: Cpu, **fields: Value) -> None:
    with slowly(in_v86(cpu) & (iopl_of(cpu) != 3)):
        general_protection(cpu)
    stack, width = Stack(cpu, fields), operand_width(fields)
    stack.push((rflags(cpu) & ~(VM | RF)).trunc(width))
    stack.settle()


@insn("9d", "popf{:isz}")
def popf(cpu: Cpu, **fields: Value) -> None:
    """IOPL changes at level 0 alone, IF as far as IOPL allows."""
    with slowly(in_v86(cpu) & (iopl_of(cpu) != 3)):
        general_protection(cpu)
    stack, width = Stack(cpu, fields), operand_width(fields)
    value = stack.pop(width).zext(64)
    stack.settle()
    set_arithmetic_flags(cpu, value)
    bits = const((TF | DF | NT | AC | ID) & (0xFFFF if width == 16 else KNOWN), 32)
    bits = bits | select((cpu.cpl == 0), const(IOPL, 32), 0)
    bits = bits | select(iopl_of(cpu).ult(cpu.cpl), const(0, 32), IF)
    old = cpu.system_flags
    cpu.system_flags = (old & ~(bits | RF)) | (value.trunc(32) & bits)
    follow_flags(cpu, old)
    cpu.sync()


def _access_flag(row: str, name: str, sets: bool) -> None:
    @insn(row, name, extension="smap")
    def change(cpu: Cpu, **_: Value) -> None:
        with slowly(cpu.cpl != 0):
            undefined_opcode(cpu)
        cpu.system_flags = cpu.system_flags | AC if sets else cpu.system_flags & ~AC
        cpu.sync()


_access_flag("np 0f 01 ca", "clac", False)
_access_flag("np 0f 01 cb", "stac", True)


@insn("0f 0b", "ud2")
def ud2(cpu: Cpu, **_: Value) -> None:
    undefined_opcode(cpu)
