"""Moves (volume 2): MOV, MOVZX, MOVSX, MOVSXD, LEA, XCHG, PUSH, POP, CBW, CWD, BSWAP, XLAT, NOP."""

from __future__ import annotations

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu, pin, when

from ..describing import insn
from ..fields import AX, BX, DX, SP
from ..locked import locked
from ..operands import (
    Immediate,
    Memory,
    Register,
    Source,
    effective,
    linear,
    operand,
    operand_width,
    truncated,
    whole_immediate,
    write_both,
)  # fmt: skip
from ..stack import Stack


def _move(row: str, dst: str, src: str) -> None:
    @insn(row, f"mov {{:{dst}}}, {{:{src}}}")
    def mov(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, dst, fields, writes=True)
        source: Source = Immediate(fields, to.width) if src[0] == "I" else operand(cpu, src, fields)
        to.write(source.read())


_move("88 /r", "Eb", "Gb")
_move("89 /r", "Ev", "Gv")
_move("8a /r", "Gb", "Eb")
_move("8b /r", "Gv", "Ev")
_move("c6 /0 ib", "Eb", "Ib")
_move("c7 /0 iz", "Ev", "Iz")
_move("b0+r ib", "Zb", "Ib")


@insn("b8+r iv", "mov{:abs_v} {:Zv}, {:Iv}")
def move_whole(cpu: Cpu, **fields: Value) -> None:
    to = operand(cpu, "Zv", fields)
    to.write(whole_immediate(fields).trunc(to.width))


def _offset(row: str, loads: bool, code: str) -> None:
    accumulator, place = ("AL", "Ob") if code == "b" else ("rAX", "Ov")
    shown = (accumulator, place) if loads else (place, accumulator)

    @insn(row + " moffs", "mov{{:abs}} {{:{}}}, {{:{}}}".format(*shown))
    def move(cpu: Cpu, **fields: Value) -> None:
        """The immediate is the offset in memory."""
        register = operand(cpu, accumulator, fields)
        offset, width = truncated(whole_immediate(fields), fields["asize"]), register.width
        address = linear(cpu, fields, fields["seg"], offset, width // 8, not loads)
        if loads:
            register.write(cpu.load(address, width))
        else:
            cpu.store(address, register.read())


_offset("a0", True, "b")
_offset("a1", True, "v")
_offset("a2", False, "b")
_offset("a3", False, "v")


def _extend(name: str, row: str, src: str, signed: bool, dst: str = "Gv") -> None:
    @insn(row, f"{name} {{:{dst}}}, {{:{src}}}")
    def move(cpu: Cpu, **fields: Value) -> None:
        to, value = operand(cpu, dst, fields), operand(cpu, src, fields).read()
        to.write(_fitted(value, to.width, signed))


def _fitted(value: Value, width: int, signed: bool) -> Value:
    if value.width > width:
        return value.trunc(width)
    return value.sext(width) if signed else value.zext(width)


_extend("movzx", "0f b6 /r", "Eb", False)
_extend("movzx", "0f b7 /r", "Ew", False)
_extend("movsx", "0f be /r", "Eb", True)
_extend("movsx", "0f bf /r", "Ew", True)


@insn("63 /r o64", "movsxd {:Gv}, {:Exd}")
def movsxd(cpu: Cpu, **fields: Value) -> None:
    to = operand(cpu, "Gv", fields)
    source = operand(cpu, "Ev" if to.width == 16 else "Ed", fields).read()
    to.write(source.sext(to.width) if to.width > 32 else source.trunc(to.width))


@insn("8d /r mem", "lea {:Gv}, {:M}")
def lea(cpu: Cpu, **fields: Value) -> None:
    to = operand(cpu, "Gv", fields)
    to.write(effective(cpu, fields).trunc(to.width))


# -- exchanges


def _exchange(row: str, e: str, g: str) -> None:
    @insn(
        row + " lock", f"{{:lock}}xchg {{:{e}}}, {{:{g}}}",
        where=lambda lock, memory, **_: (lock == 0) | (memory == 1), restartable=True,
    )  # fmt: skip
    def xchg(cpu: Cpu, **fields: Value) -> None:
        """Memory is locked in any case."""
        to, other = operand(cpu, e, fields, writes=True), operand(cpu, g, fields)
        value = other.read()
        assert isinstance(other, Register)
        if isinstance(to, Memory):
            other.write(locked(cpu, "xchg", to.address, value))
        else:
            assert isinstance(to, Register)
            write_both(to, value, other, to.read())


_exchange("86 /r", "Eb", "Gb")
_exchange("87 /r", "Ev", "Gv")


@insn(
    "90+r",
    "xchg {:Zv}, {:rAX}",
    where=lambda rm, pp, **_: (rm != AX) | (pp != 2),
)
def xchg_accumulator(cpu: Cpu, **fields: Value) -> None:
    """With itself it is NOP, which leaves the upper half of RAX."""
    to, other = operand(cpu, "Zv", fields), operand(cpu, "rAX", fields)
    assert isinstance(to, Register)
    assert isinstance(other, Register)
    a, b = to.read(), other.read()
    with when(fields["rm"] != AX):
        write_both(to, b, other, a)


@insn("90", "nop", where=lambda rm, pp, **_: (rm == AX) & (pp != 2))
def nop(cpu: Cpu, **_: Value) -> None:
    pass


@insn("f3 90", "pause", where=lambda rm, **_: rm == AX)
def pause(cpu: Cpu, **_: Value) -> None:
    cpu.relax()


for _digit in range(8):
    insn(f"0f 1f /{_digit}", "nop {:Ev}")(nop)


# -- the stack


def _push(row: str, code: str) -> None:
    @insn(row, f"push {{:{code}}}")
    def push(cpu: Cpu, **fields: Value) -> None:
        if code[0] == "I":
            value = Immediate(fields, operand_width(fields)).read()
        else:
            value = operand(cpu, code, fields).read()
        stack = Stack(cpu, fields)
        stack.push(value)
        stack.settle()


_push("50+r", "Zv")
_push("68 iz", "Iz")
_push("6a ib", "Iz")
_push("ff /6", "Ev")


@insn("58+r", "pop {:Zv}")
def pop_register(cpu: Cpu, **fields: Value) -> None:
    """Into the stack pointer itself goes what was loaded."""
    stack, width = Stack(cpu, fields), operand_width(fields)
    value, number = stack.pop(width), fields["rm"]
    to = Register(cpu, number, width)
    is_pointer = number == SP
    whole, moved = to.whole, stack.merged(stack.pointer)
    cpu.r[SP] = moved
    cpu.r[number] = to.merged(select(is_pointer, moved, whole), value)


@insn("8f /0", "pop {:Ev}")
def pop(cpu: Cpu, **fields: Value) -> None:
    """An address that is relative to the stack pointer follows from the one after the pop."""
    stack, width = Stack(cpu, fields), operand_width(fields)
    value = stack.pop(width)
    if not pin(fields["memory"]):
        pop_register(cpu, **fields)
        return
    moved = select(fields["base"] == SP, const(width // 8, 64), 0)
    offset = truncated(effective(cpu, fields) + moved, fields["asize"])
    address = linear(cpu, fields, fields["seg"], offset, width // 8, True)
    cpu.store(address, value)
    stack.settle()


# -- conversions


@insn("98", "c{:cbw}", name="cbw")
def convert_accumulator(cpu: Cpu, **fields: Value) -> None:
    """CBW, CWDE, CDQE."""
    to = operand(cpu, "rAX", fields)
    to.write(to.read().trunc(to.width // 2).sext(to.width))


@insn("99", "c{:cwd}", name="cwd")
def convert_sign(cpu: Cpu, **fields: Value) -> None:
    """CWD, CDQ, CQO."""
    width = operand_width(fields)
    sign = Register(cpu, const(AX, 4), width).read().asr(width - 1)
    Register(cpu, const(DX, 4), width).write(sign)


@insn("0f c8+r", "bswap {:Zv}")
def bswap(cpu: Cpu, **fields: Value) -> None:
    """Of 16 bits it is undefined: processors store zeros."""
    to = operand(cpu, "Zv", fields)
    to.write(pure("bswap", to.read()) if to.width > 16 else const(0, 16))


@insn("d7", "xlat {:Xlat}")
def xlat(cpu: Cpu, **fields: Value) -> None:
    al = Register(cpu, const(AX, 4), 8)
    offset = truncated(cpu.r[BX] + al.read().zext(64), fields["asize"])
    al.write(cpu.load(linear(cpu, fields, fields["seg"], offset, 1, False), 8))
