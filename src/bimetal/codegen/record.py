"""What a decoded record holds: the operands that a handler wants, computed when it is decoded.

A handler's static values (functions of the encoding's fields alone) become operands of the
record: the decoder evaluates them once, the handler loads them. `Slots` assigns their places.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.value import Value
from .layout import OPERANDS, RECORD

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
    """``bytes`` at ``offset`` of the record hold ``value``; ``scratch`` replaces a zero."""

    value: Value
    offset: int
    bytes: int
    is_signed: bool
    scratch: int | None = None


class Slots:
    """The operands of one handler. ``scale`` is set for a jump's distance in records."""

    def __init__(self) -> None:
        self.slots: dict[tuple[Value, object], Slot] = {}
        self._next = OPERANDS

    def slot(self, value: Value, role: object = None, extra_bits: int = 0) -> Slot:
        """The place of a value. ``role`` is a scratch register's number, or a jump's scale."""
        key = (value, role)
        if key not in self.slots:
            bits, is_signed = span(value)
            size = 1
            while size * 8 < bits + extra_bits:
                size *= 2
            at = -(-self._next // size) * size
            if at + size > RECORD:
                raise ValueError(f"operands do not fit in a record: {[*self.slots, key]}")
            self._next = at + size
            scratch = role if isinstance(role, int) else None
            self.slots[key] = Slot(value, at, size, is_signed, scratch)
        return self.slots[key]
