"""What a decoded record holds: the operands that a handler wants, computed when it is decoded.

A handler's static values (functions of the encoding's fields alone) become operands of the
record: the decoder evaluates them once, the handler loads them. `Slots` assigns their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.value import Value
from .layout import OPERANDS

__all__ = ["Slot", "Slots", "span"]


def span(value: Value) -> tuple[int, bool]:
    """How many bits hold every value of a static expression, and whether they are signed."""
    if value.op == "const":
        number = int(value)
        if number >> (value.width - 1):
            return (number - (1 << value.width)).bit_length() + 1, True
        return max(1, number.bit_length()), False
    if value.op in ("sext", "zext"):
        bits, is_signed = span(value.args[0])
        if value.op == "sext":
            inner = value.args[0].width
            return (bits, True) if is_signed or bits == inner else (bits, False)
        return (value.args[0].width, False) if is_signed else (bits, False)
    if value.op == "shl" and value.args[1].op == "const":
        bits, is_signed = span(value.args[0])
        return min(value.width, bits + int(value.args[1])), is_signed
    return value.width, False


@dataclass(frozen=True, slots=True)
class Slot:
    """``bytes`` at ``offset`` of the record hold ``value``."""

    value: Value
    offset: int
    bytes: int
    is_signed: bool


def _bytes(bits: int) -> int:
    size = 1
    while size * 8 < bits:
        size *= 2
    return size


class Slots:
    """The operands of one handler, whose instruction has fields of these ``widths``.

    ``record`` is the size of a record in bytes.
    """

    def __init__(self, widths: Mapping[str, int], record: int) -> None:
        self._end = record
        self.slots: dict[tuple[Value, object], Slot] = {}
        self._next = OPERANDS
        self._fields = {name: _bytes(width) for name, width in widths.items()}

    def has_room(self, value: Value) -> bool:
        """Whether an expression may have a place and leave room for every field."""
        if (value, None) in self.slots or value.op == "field":
            return True
        size = _bytes(span(value)[0])
        return -(-self._next // size) * size + size + sum(self._fields.values()) <= self._end

    def slot(self, value: Value, role: object = None, extra_bits: int = 0) -> Slot:
        """The place of a value. Its ``role`` is None, "distance" for a jump's in records, or for
        a register that is written the zero register and the slot that takes its writes."""
        key = (value, role)
        if key not in self.slots:
            bits, is_signed = span(value)
            size = _bytes(bits + extra_bits)
            at = -(-self._next // size) * size
            if at + size > self._end:
                raise ValueError(f"operands do not fit in a record: {[*self.slots, key]}")
            self._next = at + size
            if value.op == "field" and role is None:
                self._fields.pop(str(value.attr), None)
            self.slots[key] = Slot(value, at, size, is_signed)
        return self.slots[key]
