"""Near jumps and calls (volume 2): Jcc, JMP, CALL, RET, LOOP, JCXZ; SETcc, CMOVcc."""

from __future__ import annotations

from bimetal.ir.value import Value, select
from bimetal.isa.trace import Cpu, pin, when

from ..describing import insn
from ..fields import CX
from ..flags import condition
from ..jumps import following, target_at, target_by
from ..operands import Fields, operand, operand_width, pinned_memory, truncated
from ..stack import Stack

for _row in ("70+cc ib", "0f 80+cc iz"):

    @insn(_row, "j{cc:cc} {:rel}")
    def jcc(cpu: Cpu, cc: Value, **fields: Value) -> None:
        if pin(fields["plain"]):
            pin(cc)
        to = target_by(cpu, fields)
        with when(condition(cpu, cc)):
            cpu.jump(to)


for _row in ("eb ib", "e9 iz"):

    @insn(_row, "jmp {:rel}")
    def jmp(cpu: Cpu, **fields: Value) -> None:
        cpu.jump(target_by(cpu, fields))


@insn("ff /4", "jmp {:Ev}")
def jmp_indirect(cpu: Cpu, **fields: Value) -> None:
    cpu.jump(target_at(cpu, fields, operand(cpu, "Ev", fields).read()))


def _pushed(cpu: Cpu, fields: Fields) -> Stack:
    """The stack with a return address."""
    stack = Stack(cpu, fields)
    stack.push(following(cpu, fields).trunc(operand_width(fields)))
    return stack


@insn("e8 iz", "call {:rel}")
def call(cpu: Cpu, **fields: Value) -> None:
    to = target_by(cpu, fields)
    _pushed(cpu, fields).settle()
    cpu.jump(to)


@insn("ff /2", "call {:Ev}", restartable=True)
def call_indirect(cpu: Cpu, **fields: Value) -> None:
    """The return address is stored even if the target is no address."""
    offset = operand(cpu, "Ev", fields).read()
    stack = _pushed(cpu, fields)
    to = target_at(cpu, fields, offset)
    stack.settle()
    cpu.jump(to)


def _return(row: str, text: str) -> None:
    @insn(row, text)
    def ret(cpu: Cpu, **fields: Value) -> None:
        stack = Stack(cpu, fields)
        to = target_at(cpu, fields, stack.pop(operand_width(fields)))
        if row != "c3":
            stack.skip(fields["imm"].zext(64) & 0xFFFF)
        stack.settle()
        cpu.jump(to)


_return("c3", "ret")
_return("c2 iw", "ret {:Iw}")


# -- loops


def _loop(row: str, name: str, wanted: int | None) -> None:
    @insn(row + " ib", f"{name} {{:rel}}")
    def loop(cpu: Cpu, **fields: Value) -> None:
        """The counter has the size of addresses."""
        whole, to = cpu.r[CX], target_by(cpu, fields)
        left = truncated(whole - 1, fields["asize"])
        go = left != 0
        if wanted is not None:
            go = go & (cpu.zf == wanted)
        cpu.r[CX] = select(fields["asize"] == 0, (whole & ~0xFFFF) | left, left)
        with when(go):
            cpu.jump(to)


_loop("e0", "loopne", 0)
_loop("e1", "loope", 1)
_loop("e2", "loop", None)


@insn("e3 ib", "j{:jcxz} {:rel}", name="jcxz")
def jcxz(cpu: Cpu, **fields: Value) -> None:
    to = target_by(cpu, fields)
    with when(truncated(cpu.r[CX], fields["asize"]) == 0):
        cpu.jump(to)


# -- conditions as values


@insn("0f 90+cc /r", "set{cc:cc} {:Eb}")
def setcc(cpu: Cpu, cc: Value, **fields: Value) -> None:
    if not pinned_memory(fields):
        pin(cc)
    operand(cpu, "Eb", fields, writes=True).write(condition(cpu, cc).zext(8))


@insn("0f 40+cc /r", "cmov{cc:cc} {:Gv}, {:Ev}", extension="cmov")
def cmovcc(cpu: Cpu, cc: Value, **fields: Value) -> None:
    """Memory is read in any case, and a register of 32 bits always loses its upper half."""
    to, source = operand(cpu, "Gv", fields), operand(cpu, "Ev", fields).read()
    if not pinned_memory(fields):
        pin(cc)
    to.write(select(condition(cpu, cc), source, to.read()))
