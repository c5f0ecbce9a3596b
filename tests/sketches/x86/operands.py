"""Operands by the codes of the manual's opcode maps (volume 2, appendix A.2)."""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.ir.value import Value, select
from bimetal.isa.trace import Cpu, pin

from .rows import NONE, RIP

__all__ = ["Immediate", "Memory", "Place", "Register", "effective", "operand_width", "place"]


def operand_width(fields: Mapping[str, Value]) -> int:
    return 64 if pin(fields["wide"]) else 16 if pin(fields["narrow"]) else 32


class Register:
    """A general register of 8 to 64 bits; without REX, bytes 4 to 7 are ah, ch, dh and bh."""

    def __init__(self, cpu: Cpu, number: Value, width: int, rex: Value):
        self.cpu, self.number, self.width = cpu, number, width
        self.high = (rex == 0) & (number.lsr(2) == 1)
        self.byte_of = select(self.high, number & 3, number)

    def read(self) -> Value:
        if self.width > 8:
            there: Value = self.cpu.r.view(self.width)[self.number]
            return there
        whole: Value = self.cpu.r[self.byte_of]
        return select(self.high, whole[15:8], whole[7:0])

    def write(self, value: Value) -> None:
        if self.width > 8:
            self.cpu.r.view(self.width, merge=self.width == 16)[self.number] = value
            return
        whole, byte = self.cpu.r[self.byte_of], value.zext(64)
        low = (whole & ~0xFF) | byte
        self.cpu.r[self.byte_of] = select(self.high, (whole & ~0xFF00) | byte << 8, low)


def effective(cpu: Cpu, fields: Mapping[str, Value]) -> Value:
    """base + (index << scale) + disp, of 32 bits in compatibility mode."""
    relative = fields["base"] == RIP
    base = cpu.r[select(relative, NONE, fields["base"])]
    base = select(relative, cpu.next_pc, base)
    index = cpu.r[fields["index"]] << fields["scale"].zext(64)
    address: Value = base + index + fields["disp"].sext(64)
    return address.trunc(32).zext(64) if pin(fields["compatibility"]) else address


class Memory:
    """An operand in memory."""

    def __init__(self, cpu: Cpu, fields: Mapping[str, Value], width: int):
        self.cpu, self.width = cpu, width
        self.address = effective(cpu, fields)

    def read(self) -> Value:
        return self.cpu.load(self.address, self.width)

    def write(self, value: Value) -> None:
        self.cpu.store(self.address, value)


class Immediate:
    """A constant of the instruction; those of 64-bit operations are 32 bits, sign-extended."""

    def __init__(self, value: Value, width: int):
        self.value = value.trunc(min(width, 32)).sext(width)

    def read(self) -> Value:
        return self.value


Place = Register | Memory


def place(cpu: Cpu, code: str, fields: Mapping[str, Value]) -> Place:
    """The operand of an operand code: E or G for where, b or v for how wide."""
    width = 8 if code[1] == "b" else operand_width(fields)
    if code[0] == "G":
        return Register(cpu, fields["reg"], width, fields["rex"])
    if pin(fields["memory"]):
        return Memory(cpu, fields, width)
    return Register(cpu, fields["rm"], width, fields["rex"])
