"""The operands in a record: values that a handler needs and the decoder computes.

A handler's static values (functions of the encoding's fields alone) become operands of the
record: the decoder evaluates them once, the handler loads them. `Slots` assigns their offsets.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..ir.effects import If
from ..ir.value import Block, Value, field_of
from .layout import OPERANDS

__all__ = ["NoRoom", "Slot", "Slots", "fields_in", "span"]


def span(value: Value) -> tuple[int, bool]:
    """The bits needed for every possible value of a static expression, and whether it is signed."""
    if value.op == "const":
        number = int(value)
        if number >> (value.width - 1):
            return (~number & ((1 << value.width) - 1)).bit_length() + 1, True
        return max(1, number.bit_length()), False
    if value.op in ("sext", "zext"):
        bits, is_signed = span(value.args[0])
        if value.op == "sext":
            inner = value.args[0].width
            return (bits, True) if is_signed or bits == inner else (bits, False)
        return (value.args[0].width, False) if is_signed else (bits, False)
    if value.op == "select":
        (a, a_signed), (b, b_signed) = (span(argument) for argument in value.args[1:])
        is_signed = a_signed or b_signed
        a, b = a + (is_signed > a_signed), b + (is_signed > b_signed)
        return min(value.width, max(a, b)), is_signed
    if value.op == "add":
        (a, a_signed), (b, b_signed) = (span(argument) for argument in value.args)
        # An unsigned operand takes one more bit when it is read as signed.
        is_signed = a_signed or b_signed
        a, b = a + (is_signed > a_signed), b + (is_signed > b_signed)
        if is_signed or max(a, b) < value.width:
            return min(value.width, max(a, b) + 1), is_signed
    if value.op == "shl" and value.args[1].op == "const":
        bits, is_signed = span(value.args[0])
        return min(value.width, bits + int(value.args[1])), is_signed
    return value.width, False


def fields_in(block: Block) -> set[str]:
    """The fields of the encoding that the operations of a block are made of, and the length."""
    found, seen = {"length"}, set[Value]()
    left = list(block)
    while left:
        value = left.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.op == "field":
            found.add(str(value.attr))
        left += value.args
        if isinstance(value, If):
            left += [inner for way in value.branches for inner in way]
    return found


class Slot(Struct, frozen=True):
    """An operand's place: ``bytes`` bytes at ``offset`` of the record hold ``value``."""

    value: Value
    offset: int
    bytes: int
    is_signed: bool


def _bytes(bits: int) -> int:
    size = 1
    while size * 8 < bits:
        size *= 2
    return size


class NoRoom(ValueError):
    """The operands of a handler do not fit in a record."""


class Slots:
    """The operands of one handler, whose instruction has fields of these ``widths`` (in bits).

    ``record`` is the size of a record in bytes. ``bare`` reserves space for every field itself,
    whatever expressions of fields get a place. ``length`` is the instruction's length, if the
    encodings of one description differ in it.
    """

    def __init__(self, widths: Mapping[str, int], record: int, bare: bool = True) -> None:
        self._end, self._bare = record, bare
        self.slots: dict[tuple[Value, object], Slot] = {}
        self._next = OPERANDS
        self._fields = {name: _bytes(width) for name, width in widths.items()}
        self.length = field_of("length", widths["length"]) if "length" in widths else None
        self._reserved = sum(self._fields.values()) + (2 if self.length is not None else 0)

    def has_room(self, value: Value) -> bool:
        """Whether an expression can get a place and still leave space for every field."""
        if (value, None) in self.slots or value.op == "field":
            return True
        size = _bytes(span(value)[0])
        kept = self._reserved if self._bare else 0
        return self._next + size + kept <= self._end

    def slot(self, value: Value, role: object = None, extra_bits: int = 0) -> Slot:
        """The place of a value, assigned at the first call.

        ``role`` is None for the value itself, "distance" for a jump's distance in bytes of records,
        "length" for the instruction's length in these, or, for a register that is written, the
        number of the zero register and the slot that takes writes to it.
        Raises `NoRoom` if the record is full.
        """
        key = (value, role)
        if key not in self.slots:
            bits, is_signed = span(value)
            size = _bytes(bits + extra_bits)
            at = self._next  # aligned or not, it is in one line of the host's cache
            if at + size > self._end:
                raise NoRoom(f"operands do not fit in a record: {[*self.slots, key]}")
            self._next = at + size
            if value.op == "field" and role is None:
                self._reserved -= self._fields.pop(str(value.attr), 0)
            if role == "length":
                self._reserved -= size
            self.slots[key] = Slot(value, at, size, is_signed)
        return self.slots[key]
