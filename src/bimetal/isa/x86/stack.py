"""The stack (volume 1, 6.2): pushes and pops by the width of its addresses."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, pin, slowly
from .fields import SP
from .operands import Fields, within_4g
from .segments import check_offset
from .state import SS

__all__ = ["Stack"]

BIG = 1 << 14


class Stack:
    """The stack during one instruction: read or store items, and `settle` at last."""

    def __init__(self, cpu: Cpu, fields: Fields):
        self._cpu, self._long = cpu, fields["long"]
        self._plain = bool(pin(fields["plain"]))
        self.pointer: Value = cpu.r[SP]
        self._whole = self.pointer
        self._wide = const(1, 1) if self._plain else (cpu.attributes[SS] & BIG) != 0

    def _cut(self, pointer: Value) -> Value:
        """A stack pointer as an offset: of 64 bits in 64-bit mode, else by the B bit of SS."""
        if self._plain:
            return within_4g(pointer, self._long)
        return select(self._wide, pointer & 0xFFFF_FFFF, pointer & 0xFFFF)

    def _linear(self, offset: Value, size: int, writes: bool) -> Value:
        if self._plain:
            return offset
        cpu = self._cpu
        with slowly(offset.uge(~cpu.guard[SS | (16 if writes else 0)])):
            check_offset(cpu, const(SS, 4), offset, size, int(writes))
        address: Value = cpu.base[SS] + offset
        return address.trunc(32).zext(64)

    def push(self, value: Value, size: int = 0) -> None:
        """Store an item below the last one; it may take more bytes than it has."""
        self.pointer = self._cut(self.pointer - (size or value.width // 8))
        self._cpu.store(self._linear(self.pointer, value.width // 8, True), value)

    def pop(self, width: int, size: int = 0) -> Value:
        """Load the last item, which may take more bytes than it has."""
        item = self._cpu.load(self._linear(self._cut(self.pointer), width // 8, False), width)
        self.pointer = self._cut(self.pointer + (size or width // 8))
        return item

    def load_at(self, pointer: Value, width: int) -> Value:
        """What is at another stack pointer."""
        return self._cpu.load(self._linear(self._cut(pointer), width // 8, False), width)

    def store_at(self, pointer: Value, value: Value) -> None:
        """Store at another stack pointer."""
        self._cpu.store(self._linear(self._cut(pointer), value.width // 8, True), value)

    def skip(self, count: Value | int) -> None:
        """Drop so many bytes."""
        self.pointer = self._cut(self.pointer + count)

    def go_to(self, pointer: Value) -> None:
        """Continue at another stack pointer."""
        self.pointer = self._cut(pointer)

    def settle(self) -> None:
        """Set the stack pointer."""
        self._cpu.r[SP] = self.merged(self.pointer)

    def merged(self, pointer: Value) -> Value:
        """All of RSP with a stack pointer: one of 16 bits leaves the rest as it is."""
        if self._plain:
            return pointer
        return select(self._wide, pointer, (self._whole & ~0xFFFF) | pointer)
