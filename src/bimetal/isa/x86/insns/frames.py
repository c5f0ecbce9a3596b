"""Frames of procedures (volume 2): ENTER, LEAVE, PUSHA, POPA, BOUND."""

from __future__ import annotations

from bimetal.ir.value import Value, const
from bimetal.isa.trace import Cpu, slowly, when

from ..describing import insn
from ..fields import AX, BP, BX, CX, DI, DX, SI, SP
from ..operands import Register, address_of, operand, operand_width
from ..stack import Stack
from ..traps import BOUND, fault

ORDER = (AX, CX, DX, BX, SP, BP, SI, DI)
"""In which PUSHA pushes."""


@insn("c9", "leave")
def leave(cpu: Cpu, **fields: Value) -> None:
    stack, width = Stack(cpu, fields), operand_width(fields)
    frame = Register(cpu, const(BP, 4), width)
    whole = frame.whole
    stack.go_to(whole)
    value = stack.pop(width)
    stack.settle()
    cpu.r[BP] = frame.merged(whole, value)


@insn("c8 iwb", "enter {:Iw}, {:I2}", restartable=True)
def enter(cpu: Cpu, **fields: Value) -> None:
    """With a level above 0 the frame pointers of enclosing procedures are copied, up to 31."""
    stack, width = Stack(cpu, fields), operand_width(fields)
    frame = Register(cpu, const(BP, 4), width)
    whole = frame.whole
    size, level = fields["imm"].zext(64) & 0xFFFF, fields["imm"].zext(64).lsr(16) & 31
    stack.push(whole.trunc(width))
    top = stack.pointer
    for number in range(1, 31):
        with when(const(number, 64).ult(level)):
            item = stack.load_at(whole - number * (width // 8), width)
            stack.store_at(top - number * (width // 8), item)
    with when(level != 0):
        stack.store_at(top - level * (width // 8), top.trunc(width))
    stack.go_to(top - level * (width // 8) - size)
    # The processor looks whether the new top can be written.
    stack.store_at(stack.pointer, stack.load_at(stack.pointer, width))
    stack.settle()
    cpu.r[BP] = frame.merged(whole, top.trunc(width))


@insn("60 i64", "pusha", restartable=True)
def pusha(cpu: Cpu, **fields: Value) -> None:
    stack, width = Stack(cpu, fields), operand_width(fields)
    values = [cpu.r[n].trunc(width) for n in ORDER]
    for value in values:
        stack.push(value)
    stack.settle()


@insn("61 i64", "popa")
def popa(cpu: Cpu, **fields: Value) -> None:
    """The stack pointer that was pushed is skipped."""
    stack, width = Stack(cpu, fields), operand_width(fields)
    registers = {n: Register(cpu, const(n, 4), width) for n in ORDER if n != SP}
    merged = {}
    for n in reversed(ORDER):
        value = stack.pop(width)
        if n != SP:
            merged[n] = registers[n].merged(registers[n].whole, value)
    stack.settle()
    for n, whole in merged.items():
        cpu.r[n] = whole


@insn("62 /r mem i64", "bound {:Gv}, {:Ma}")
def bound(cpu: Cpu, **fields: Value) -> None:
    """#BR if a signed index is outside of the two bounds in memory."""
    index = operand(cpu, "Gv", fields).read()
    size = index.width // 8
    address = address_of(cpu, fields, 2 * size)
    low, high = cpu.load(address, index.width), cpu.load(address + size, index.width)
    with slowly(index.slt(low) | high.slt(index)):
        fault(cpu, BOUND)
