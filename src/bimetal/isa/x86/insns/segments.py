"""Segment registers as operands (volume 2): MOV Sreg, PUSH and POP Sreg, LES, LDS, LSS, LFS, LGS;
RDFSBASE and its kind, SWAPGS; ARPL, LAR, LSL, VERR, VERW."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, pin, ret, slowly, when

from ..canonical import non_canonical
from ..control import FSGSBASE
from ..describing import insn
from ..descriptors import (
    CONFORMING,
    dpl_of,
    in_real_mode,
    in_v86,
    limit_of,
    load_segment,
    rights_of,
)  # fmt: skip
from ..operands import Register, address_of, operand, operand_width, pinned_memory
from ..privilege import need_ring_0
from ..segments import CODE, S_BIT, UNUSABLE, WRITABLE
from ..stack import Stack
from ..state import CS, DS, ES, FS, GS, LDTR, SS, x86
from ..system_access import system_load
from ..traps import general_protection, undefined_opcode

NAMES = {"es": ES, "cs": CS, "ss": SS, "ds": DS, "fs": FS, "gs": GS}


def load(cpu: Cpu, seg: Value | int, selector: Value) -> None:
    """Load a segment register. Behind a load of SS neither an interrupt nor #DB comes for an
    instruction, unless that is another one."""
    load_segment(cpu, seg if isinstance(seg, Value) else const(seg, 8), selector)
    is_stack = seg.zext(8) == SS if isinstance(seg, Value) else const(seg == SS, 1)
    now = cpu.host("instret", 64)
    shades = is_stack & (cpu.debug_shadow != now)
    cpu.shadow = select(shades, now + 1, cpu.shadow)
    cpu.debug_shadow = select(shades, now + 1, cpu.debug_shadow)
    cpu.sync()


@insn("8e /r", "mov {:Sw}, {:Ew}", restartable=True)
def load_register(cpu: Cpu, **fields: Value) -> None:
    with slowly((fields["middle"] == CS) | fields["middle"].uge(6)):
        undefined_opcode(cpu)
    selector = operand(cpu, "Ew", fields).read()
    load(cpu, fields["middle"].zext(8), selector)


@insn("8c /r", "mov {:Rv}, {:Sw}")
def store_register(cpu: Cpu, **fields: Value) -> None:
    """Into a register it is zero-extended to the operand's size, in memory it is a word."""
    with slowly(fields["middle"].uge(6)):
        undefined_opcode(cpu)
    selector = cpu.selector[select(fields["middle"].ult(6), fields["middle"], 0)]
    if pinned_memory(fields):
        operand(cpu, "Ew", fields, writes=True).write(selector)
    else:
        to = Register(cpu, fields["rm"], operand_width(fields))
        to.write(selector.zext(to.width))


def _push(row: str, name: str) -> None:
    @insn(row, f"push {name}")
    def push(cpu: Cpu, **fields: Value) -> None:
        """An item of the operand's size, of which a word is stored."""
        stack, width = Stack(cpu, fields), operand_width(fields)
        selector = cpu.selector[NAMES[name]]
        if width == 64:
            stack.push(selector.zext(64))
        else:
            stack.push(selector, size=width // 8)
        stack.settle()


def _pop(row: str, name: str) -> None:
    @insn(row, f"pop {name}", restartable=True)
    def pop(cpu: Cpu, **fields: Value) -> None:
        stack, width = Stack(cpu, fields), operand_width(fields)
        selector = stack.pop(16, size=width // 8)
        load(cpu, NAMES[name], selector)
        stack.settle()


for _name, _row in (("es", "06 i64"), ("cs", "0e i64"), ("ss", "16 i64"), ("ds", "1e i64"),
                    ("fs", "0f a0"), ("gs", "0f a8")):  # fmt: skip
    _push(_row, _name)
for _name, _row in (("es", "07 i64"), ("ss", "17 i64"), ("ds", "1f i64"),
                    ("fs", "0f a1"), ("gs", "0f a9")):  # fmt: skip
    _pop(_row, _name)


def _far_pointer(row: str, name: str) -> None:
    @insn(f"{row} /r mem", f"l{name} {{:Gv}}, {{:Mp}}", restartable=True)
    def load_pointer(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, "Gv", fields)
        size = to.width // 8
        address = address_of(cpu, fields, size + 2)
        offset, selector = cpu.load(address, to.width), cpu.load(address + size, 16)
        load(cpu, NAMES[name], selector)
        to.write(offset)


for _name, _row in (("es", "c4"), ("ds", "c5")):
    _far_pointer(_row + " i64", _name)
for _name, _row in (("ss", "0f b2"), ("fs", "0f b4"), ("gs", "0f b5")):
    _far_pointer(_row, _name)


# -- bases


def _base(digit: int, seg: int, writes: bool) -> None:
    name = f"{'wr' if writes else 'rd'}{'fs' if seg == FS else 'gs'}base"

    @insn(f"f3 0f ae /{digit} reg o64", f"{name} {{:Ry_o}}", extension="fsgsbase")
    def base(cpu: Cpu, **fields: Value) -> None:
        with slowly((cpu.cr4 & FSGSBASE) == 0):
            undefined_opcode(cpu)
        width = 64 if pin(fields["osize"]) == 2 else 32
        register = Register(cpu, fields["rm"], width)
        if writes:
            value = register.read().zext(64)
            with slowly(non_canonical(cpu, value)):
                general_protection(cpu)
            cpu.base[seg] = value
        else:
            register.write(cpu.base[seg].trunc(width))


for _digit, (_seg, _writes) in enumerate(((FS, False), (GS, False), (FS, True), (GS, True))):
    _base(_digit, _seg, _writes)


@insn("0f 01 f8 o64", "swapgs")
def swapgs(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    base: Value = cpu.base[GS]
    cpu.base[GS] = cpu.kernel_gs_base
    cpu.kernel_gs_base = base


# -- questions about descriptors


@insn("63 /r i64", "arpl {:Ew}, {:Gw}")
def arpl(cpu: Cpu, **fields: Value) -> None:
    """The RPL of a selector becomes at least that of another."""
    with slowly(in_real_mode(cpu) | in_v86(cpu)):
        undefined_opcode(cpu)
    to, source = operand(cpu, "Ew", fields, writes=True), operand(cpu, "Gw", fields).read()
    old = to.read()
    less = (old & 3).ult(source & 3)
    to.write(select(less, (old & ~3) | (source & 3), old))
    cpu.zf = less


@x86.routine(returns=64, selector=16)
def looked_up(cpu: Cpu, selector: Value) -> Value:
    """A descriptor without an exception where there is none; bit 64 cannot be told, so 0 is none:
    no descriptor that anybody looks for is 0."""
    local = selector[2] == 1
    wide = selector.zext(64)
    limit = select(local, cpu.limit[LDTR].zext(64), cpu.gdtr_limit.zext(64))
    none = local & ((cpu.attributes[LDTR] & UNUSABLE) != 0)
    with when(none | limit.ult(wide | 7) | ((selector & 0xFFFC) == 0)):
        ret(const(0, 64))
    base = select(local, cpu.base[LDTR], cpu.gdtr_base)
    return system_load(cpu, base + (wide & 0xFFF8), 64)


# Types of system descriptors that LAR and LSL know, a bit each: in IA-32e mode, and elsewhere.
LAR_LONG, LAR = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12, 0b0001_1010_0011_1110
LSL_LONG, LSL = 1 << 2 | 1 << 9 | 1 << 11, 0b0000_1010_0000_1110


def _visible(cpu: Cpu, selector: Value, d: Value, systems: tuple[int, int]) -> Value:
    """Whether a program may know of a descriptor."""
    rights = rights_of(d)
    level = select((selector & 3).trunc(8).ult(cpu.cpl), cpu.cpl, (selector & 3).trunc(8))
    conforms = (rights & (S_BIT | CODE | CONFORMING)) == S_BIT | CODE | CONFORMING
    known = select((cpu.efer & 1 << 10) != 0, const(systems[0], 32), systems[1])
    system = known.lsr(rights & 15)[0]
    kind = select((rights & S_BIT) != 0, const(1, 1), system)
    return (d != 0) & kind & (conforms | ~dpl_of(rights).trunc(8).ult(level))


def _question(row: str, name: str, systems: tuple[int, int]) -> None:
    @insn(f"{row} /r", f"{name} {{:Gv}}, {{:Ezw}}", restartable=True)
    def ask(cpu: Cpu, **fields: Value) -> None:
        with slowly(in_real_mode(cpu) | in_v86(cpu)):
            undefined_opcode(cpu)
        to, selector = operand(cpu, "Gv", fields), operand(cpu, "Ew", fields).read()
        d = looked_up(cpu, selector)
        seen = _visible(cpu, selector, d, systems)
        rights = (d.lsr(32) & 0xF0_FF00).trunc(32)
        answer = rights if name == "lar" else limit_of(d)
        fitted = answer.trunc(to.width) if to.width <= 32 else answer.zext(64)
        with when(seen):
            to.write(fitted)
        cpu.zf = seen


_question("0f 02", "lar", (LAR_LONG, LAR))
_question("0f 03", "lsl", (LSL_LONG, LSL))


def _verify(digit: int, name: str) -> None:
    @insn(f"0f 00 /{digit}", f"{name} {{:Ew}}", restartable=True)
    def verify(cpu: Cpu, **fields: Value) -> None:
        with slowly(in_real_mode(cpu) | in_v86(cpu)):
            undefined_opcode(cpu)
        selector = operand(cpu, "Ew", fields).read()
        d = looked_up(cpu, selector)
        rights = rights_of(d)
        code, writable = (rights & CODE) != 0, (rights & WRITABLE) != 0
        right = (~code | writable) if name == "verr" else ~code & writable
        segment = (rights & S_BIT) != 0
        cpu.zf = _visible(cpu, selector, d, (0, 0)) & segment & right


_verify(4, "verr")
_verify(5, "verw")
