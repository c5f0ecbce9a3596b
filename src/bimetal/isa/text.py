"""Assembly text, in and out, from one template a description.

``"lw {rd:x}, {imm:s}({rs1:x})"``: an operand names a field and, after the colon, the kind of
operand by which the ISA prints and reads it. Text is invertible as encodings are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ir.ops import signed

__all__ = ["OperandKind", "Template", "named", "number"]


@dataclass(frozen=True, slots=True)
class OperandKind:
    """How a kind of operand is printed and read.

    ``show(value, width, pc)`` gets the field as an unsigned integer of ``width`` bits and the
    address of the instruction; ``read(text, pc)`` gives the field back, negative if it is signed.
    """

    show: Callable[[int, int, int], str]
    read: Callable[[str, int], int]


def number(is_signed: bool = False, relative: bool = False, base: int = 10) -> OperandKind:
    """A number; ``relative`` ones are printed as the address ``pc + value``."""

    def show(value: int, width: int, pc: int) -> str:
        value = signed(value, width) if is_signed else value
        if relative:
            return hex((pc + value) & 0xFFFF_FFFF_FFFF_FFFF)
        return hex(value) if base == 16 else str(value)

    def read(text: str, pc: int) -> int:
        value = int(text, 0)
        return value - pc if relative else value

    return OperandKind(show, read)


def named(names: list[str] | tuple[str, ...], offset: int = 0) -> OperandKind:
    """One of ``names``; the field counts from ``offset``. Reads ``names`` only."""
    index = {name: i - offset for i, name in enumerate(names)}
    return OperandKind(
        lambda value, width, pc: names[value + offset], lambda text, pc: index[text]
    )


_OPERAND = re.compile(r"\{(\w+)(?::(\w+))?\}")


class Template:
    """One instruction's text; ``kinds`` are the ISA's operand kinds by name."""

    def __init__(self, text: str, kinds: Mapping[str, OperandKind]):
        self.text = text
        self.mnemonic = text.split(" ")[0]
        self.operands: list[tuple[str, OperandKind]] = []
        parts: list[str] = []
        last = 0
        for match in _OPERAND.finditer(text):
            parts.append(re.escape(text[last : match.start()]))
            parts.append(r"\s*([^,()\s]+)\s*")
            self.operands.append((match[1], kinds[match[2] or "u"]))
            last = match.end()
        parts.append(re.escape(text[last:]))
        self._regex = re.compile("".join(parts).replace(r"\ ", r"\s+"))

    def show(self, fields: Mapping[str, int], widths: Mapping[str, int], pc: int) -> str:
        """The text of an instruction at ``pc``."""
        shown = iter(
            kind.show(fields[name], widths[name], pc) for name, kind in self.operands
        )
        return _OPERAND.sub(lambda _: next(shown), self.text)

    def read(self, text: str, pc: int) -> dict[str, int] | None:
        """The fields that ``text`` states, or None if it is not this instruction."""
        match = self._regex.fullmatch(text.strip())
        if match is None:
            return None
        fields: dict[str, int] = {}
        try:
            for (name, kind), operand in zip(self.operands, match.groups(), strict=True):
                fields[name] = kind.read(operand, pc)
        except (ValueError, KeyError):
            return None
        return fields
