"""The guest's registers as variables of a region, brought in where it is entered and written back
where it is left.

A vector register that a region uses for single numbers only has two: its lowest 64 bits, as a
double, and what it was otherwise. A result with zeros above it then costs no instruction to put
together, and an operand none to take apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..ir import effects
from ..ir.effects import Get, If, Set
from ..ir.value import Block, Value, const
from .flags import FlagLowering
from .layout import Layout

__all__ = ["NUMBER", "RegisterLowering", "used_as_numbers"]

Register = tuple[str, int]

NUMBER = 64
"""Bits of the numbers."""


def used_as_numbers(blocks: Iterable[Block]) -> set[Register]:
    """The registers wider than a number that are only read as one and only written as one with
    zeros above it, by the fast parts of these blocks."""
    found: set[Register] = set()
    others: set[Register] = set()
    for value in _operations(blocks):
        for argument in value.args:
            if isinstance(argument, Get) and argument.width > NUMBER and argument.index.known:
                is_number = value.op == "trunc" and value.width == NUMBER
                (found if is_number else others).add((argument.file, int(argument.index)))
        if isinstance(value, Set) and value.new.width > NUMBER and value.index.known:
            (found if _is_number(value.new) else others).add((value.file, int(value.index)))
    return found - others


def _is_number(value: Value) -> bool:
    """Whether a value is a number with zeros above it."""
    if value.known:
        return int(value) < 1 << NUMBER
    return value.op == "zext" and value.args[0].width == NUMBER


def _operations(blocks: Iterable[Block]) -> Iterator[Value]:
    """All operations of blocks but those that are left to slow code."""
    for block in blocks:
        for value in block:
            yield value
            if isinstance(value, If):
                ways = value.branches
                yield from _operations([ways.otherwise] if ways.cold else ways)


class RegisterLowering(FlagLowering):
    """Registers as variables, of those types that keep their values where they are used.

    With ``in_memory`` they stay in the vCPU's state instead, and files that are ``indexed`` by what
    is not constant always do. ``numbers`` are those of which the lowest bits are a variable of
    their own.
    """

    def __init__(self, layout: Layout):
        super().__init__(layout)
        self.in_memory = False
        self.indexed: set[str] = set()
        self.numbers: set[Register] = set()
        self._used: dict[Register, str] = {}
        self._written: set[Register] = set()

    def kind(self, name: str) -> str:
        """The LLVM type of a register's variable: a vector of doubles for vector registers, so that
        their values stay in the host's vector registers."""
        file = self.layout.spec.files[name]
        if file.width > 64:
            return f"<{file.width // 64} x double>"
        return "double" if file.floating else f"i{file.width}"

    def _register(self, name: str, index: Value) -> str:
        key = (name, int(index))
        cell = self._used.get(key)
        if cell is None:
            cell = self._used[key] = f"%r_{name}_{key[1]}"
            self.allocas.append(f"  {cell} = alloca {self.kind(name)}")
            if key in self.numbers:
                self.allocas.append(f"  {_number_of(cell)} = alloca double")
        return cell

    def cell(self, name: str) -> str:
        return self._register(name, const(0, 1))

    def op_get(self, value: effects.Get) -> None:
        if self.in_memory or value.file in self.indexed:
            super().op_get(value)
            return
        if value.file in self.plan.flags:
            self.names[value] = self.flag(value.file)
            return
        cell, kind = self._register(value.file, value.index), self.kind(value.file)
        if (value.file, int(value.index)) in self.numbers:
            number = self.let(f"load i64, ptr {_number_of(cell)}")
            self.names[value] = self.let(f"zext i64 {number} to i{value.width}")
            return
        loaded = self.let(f"load {kind}, ptr {cell}")
        if kind != f"i{value.width}":
            loaded = self.let(f"bitcast {kind} {loaded} to i{value.width}")
        self.names[value] = loaded

    def op_set(self, value: effects.Set) -> None:
        if self.in_memory or value.file in self.indexed:
            super().op_set(value)
            return
        if value.file in self.plan.flags:
            self.set_flag(value.file, value.new)
            return
        operand = self.operand(value.new)
        self._written.add((value.file, int(value.index)))
        cell, kind = self._register(value.file, value.index), self.kind(value.file)
        if (value.file, int(value.index)) in self.numbers:
            number = self.let(f"trunc i{value.new.width} {operand} to i64")
            self.put(f"store i64 {number}, ptr {_number_of(cell)}")
            operand = "zeroinitializer"
        elif kind != f"i{value.new.width}":
            operand = self._in_lanes(value.new, operand, kind)
        self.put(f"store {kind} {operand}, ptr {cell}")

    def _in_lanes(self, new: Value, operand: str, kind: str) -> str:
        """A value as a register's variable holds it. A double with zeros above it is inserted into
        its lane directly; otherwise it would pass through an integer register."""
        if new.op == "zext" and new.args[0].width == NUMBER and new.width > NUMBER:
            number = self.let(f"bitcast i64 {self.operand(new.args[0])} to double")
            return self.let(f"insertelement {kind} zeroinitializer, double {number}, i64 0")
        return self.let(f"bitcast i{new.width} {operand} to {kind}")

    # -- the function's entry and end
    def bring_in(self) -> list[str]:
        """The lines that load all variables."""
        lines: list[str] = []
        for (name, index), cell in self._used.items():
            stored, pointer = self._slot_of(lines, name, index)
            variable = self.kind(name)
            loaded = self._let(lines, f"load {stored}, ptr {pointer}")
            if variable != stored:
                loaded = self._let(lines, f"trunc {stored} {loaded} to {variable}")
            lines.append(f"  store {variable} {loaded}, ptr {cell}")
            if (name, index) in self.numbers:
                number = self._let(lines, f"extractelement {variable} {loaded}, i64 0")
                lines.append(f"  store double {number}, ptr {_number_of(cell)}")
        return lines

    def write_back(self) -> list[str]:
        """The lines that store all variables that were written."""
        lines: list[str] = []
        for name, index in sorted(self._written):
            stored, pointer = self._slot_of(lines, name, index)
            variable, cell = self.kind(name), self._used[name, index]
            value = self._let(lines, f"load {variable}, ptr {cell}")
            if (name, index) in self.numbers:
                number = self._let(lines, f"load double, ptr {_number_of(cell)}")
                inserted = f"insertelement {variable} {value}, double {number}, i64 0"
                value = self._let(lines, inserted)
            if variable != stored:
                value = self._let(lines, f"zext {variable} {value} to {stored}")
            lines.append(f"  store {stored} {value}, ptr {pointer}")
        return lines

    def _slot_of(self, lines: list[str], name: str, index: int) -> tuple[str, str]:
        """Storage type and pointer of a register."""
        file = self.layout.spec.files[name]
        size = self.layout.slot_bytes(file)
        offset = self.layout.offsets[name] + index * size
        kind = self.kind(name)
        stored = f"i{size * 8}" if kind == f"i{file.width}" else kind
        return stored, self._let(lines, f"getelementptr i8, ptr %st, i64 {offset}")

    def _let(self, lines: list[str], line: str) -> str:
        name = self.fresh()
        lines.append(f"  {name} = {line}")
        return name


def _number_of(cell: str) -> str:
    """The variable of a register's lowest bits."""
    return f"{cell}_number"
