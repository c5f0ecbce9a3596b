"""Operands by the codes of the manual's opcode maps (volume 2, appendix A.2), and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...ir.value import Value, const, select
from ..trace import Cpu, pin, slowly
from .fields import NO_SEGMENT, NONE, RIP
from .segments import check_offset
from .state import UNGUARDED

__all__ = [
    "Fields", "Immediate", "Memory", "Place", "Register", "Source", "address_of", "effective",
    "linear", "operand", "operand_width", "pinned_memory", "truncated",
    "whole_immediate", "write_both",
]  # fmt: skip

Fields = Mapping[str, Value]


def operand_width(fields: Fields) -> int:
    """The size of operands in bits."""
    size = pin(fields["osize"])
    return 16 << min(size, 2)


class Source(Protocol):
    """What can be read."""

    @property
    def width(self) -> int:
        """Bits."""

    def read(self) -> Value:
        """The value."""


class Place(Source, Protocol):
    """What can be written, too."""

    def write(self, value: Value) -> None:
        """Assign."""


class Register:
    """A general register of 8 to 64 bits; without REX, bytes 4 to 7 are AH, CH, DH and BH."""

    def __init__(self, cpu: Cpu, number: Value, width: int, rex: Value | None = None):
        self.cpu, self.number, self.width = cpu, number, width
        self._whole: Value | None = None
        self._down: Value = const(0, 64)
        if width == 8 and rex is not None:
            high = (rex == 0) & (number.lsr(2) == 1)
            self.number = select(high, number & 3, number)
            self._down = select(high, const(8, 64), 0)

    @property
    def whole(self) -> Value:
        """All of the register, as it was first."""
        if self._whole is None:
            self._whole = self.cpu.r[self.number]
        return self._whole

    def read(self) -> Value:
        """The value."""
        return self.whole.lsr(self._down).trunc(self.width)

    def merged(self, whole: Value, value: Value) -> Value:
        """All of the register once ``value`` is assigned to it. 32 bits clear those above them."""
        if self.width >= 32:
            return value.zext(64)
        mask = const((1 << self.width) - 1, 64) << self._down
        return (whole & ~mask) | value.zext(64) << self._down

    def write(self, value: Value) -> None:
        """Assign."""
        whole = self.whole if self.width < 32 else const(0, 64)
        self.cpu.r[self.number] = self.merged(whole, value)


def write_both(first: Register, new_first: Value, second: Register, new_second: Value) -> None:
    """Assign to two registers of one width, which may be parts of the same one; the second counts
    where both are the same part."""
    one, two = first.merged(first.whole, new_first), second.whole
    if first.width < 32:
        two = select(first.number == second.number, one, two)
    first.cpu.r[first.number] = one
    second.cpu.r[second.number] = second.merged(two, new_second)


def truncated(address: Value, asize: Value) -> Value:
    """An offset of 16, 32 or 64 bits, as ``asize`` numbers these."""
    if asize.known:
        return address.trunc(16 << int(asize)).zext(64)
    up = select(asize == 0, const(48, 64), select(asize == 1, const(32, 64), 0))
    return (address << up).lsr(up)


def effective(cpu: Cpu, fields: Fields) -> Value:
    """The offset of an operand in its segment (volume 1, 3.7.5)."""
    base = fields["base"]
    relative = base == RIP
    address: Value = cpu.r[select(relative, NONE, base)] + fields["disp"].sext(64)
    address = address + (cpu.r[fields["index"]] << fields["scale"].zext(64))
    if not relative.known:
        address = address + select(relative, cpu.next_pc, 0)
    elif int(relative):
        address = cpu.next_pc + fields["disp"].sext(64)
    return truncated(address, fields["asize"])


def linear(cpu: Cpu, fields: Fields, seg: Value, offset: Value, size: int, writes: bool) -> Value:
    """The linear address of an offset in a segment, from which ``size`` bytes are accessed: whether
    they may be is looked at where the segment does not allow all (volume 3, 5.3)."""
    if seg.known and int(seg) == NO_SEGMENT:
        return offset
    guard = select(seg == NO_SEGMENT, const(UNGUARDED, 6), seg.zext(6) | (16 if writes else 0))
    with slowly(offset.uge(~cpu.guard[guard])):
        check_offset(cpu, seg, offset, size, int(writes))
    return within_4g(cpu.base[seg] + offset, fields["long"])


def within_4g(address: Value, long: Value) -> Value:
    """A linear address: of 32 bits but in 64-bit mode."""
    if long.known:
        return address if int(long) else address.trunc(32).zext(64)
    up = select(long == 1, const(0, 64), 32)
    return (address << up).lsr(up)


def address_of(
    cpu: Cpu, fields: Fields, size: int, writes: bool = False, more: Value | int = 0
) -> Value:
    """The linear address of an operand in memory, perhaps ``more`` bytes further on."""
    offset = effective(cpu, fields)
    if isinstance(more, Value) or more:
        offset = truncated(offset + more, fields["asize"])
    return linear(cpu, fields, fields["seg"], offset, size, writes)


class Memory:
    """An operand in memory. One that ``writes`` is going to be written."""

    def __init__(self, cpu: Cpu, fields: Fields, width: int, writes: bool = False):
        self.cpu, self.width = cpu, width
        self.address = address_of(cpu, fields, width // 8, writes)

    def read(self) -> Value:
        """The value."""
        return self.cpu.load(self.address, self.width)

    def write(self, value: Value) -> None:
        """Assign."""
        self.cpu.store(self.address, value)


class Immediate:
    """A constant of the instruction; those of 64-bit operations are 32 bits, sign-extended."""

    def __init__(self, fields: Fields, width: int):
        self.width = width
        self._value = fields["imm"].trunc(min(width, 32)).sext(width)

    def read(self) -> Value:
        """The value."""
        return self._value


def whole_immediate(fields: Fields) -> Value:
    """An immediate of up to 64 bits."""
    return fields["imm"].zext(64) | fields["high"].zext(64) << 32


def pinned_memory(fields: Fields) -> bool:
    """Whether ModRM names memory."""
    return bool(pin(fields["memory"]))


def _width(code: str, fields: Fields) -> int:
    match code[1:]:
        case "v":
            return operand_width(fields)
        case "y":
            return 64 if pin(fields["osize"]) == 2 else 32
        case size:
            return {"b": 8, "w": 16, "d": 32, "q": 64}[size]


def operand(cpu: Cpu, code: str, fields: Fields, writes: bool = False) -> Place:
    """The operand of an operand code: E, G, B, Z or the accumulator for where, a letter for how
    wide."""
    if code in ("AL", "rAX"):
        return Register(cpu, const(0, 4), 8 if code == "AL" else operand_width(fields))
    width = _width(code, fields)
    if code[0] == "E":
        if pinned_memory(fields):
            return Memory(cpu, fields, width, writes)
        return Register(cpu, fields["rm"], width, fields["rex"])
    name = {"G": "reg", "B": "vvvv", "Z": "rm", "R": "rm"}[code[0]]
    return Register(cpu, fields[name], width, fields.get("rex"))
