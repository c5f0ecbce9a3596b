"""The holes of stencils: what belongs there, as the name of a symbol and as a constant in memory.

A hole is filled with ``(base + addend + field * scale) >> shift``. The field is an operand in the
instruction's record, and the base one of the four below, or 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from msgspec import Struct
from msgspec.structs import astuple

__all__ = [
    "AT",
    "BASE",
    "COLD_BASE",
    "CONSTANTS_BASE",
    "DOWN",
    "HANDLER_BASE",
    "HOLE_BYTES",
    "HOLE_TYPE",
    "RECORD_BASE",
    "SCALE",
    "SHIFT",
    "SIGNED",
    "SIZE",
    "SLOT",
    "Filling",
    "Hole",
    "Stencil",
    "Stencils",
]

RECORD_BASE, HANDLER_BASE, COLD_BASE, CONSTANTS_BASE = 1, 2, 3, 4
"""What is added: the address of the instruction's record; that of its handler; or, for what the
host's instructions address by distance, how far it is from the hole to the instruction's way out to
the handler, or to the stencils' constants."""

HOLE_TYPE, HOLE_BYTES = "{ i64, i64 }", 16

AT, SIZE, BASE, SLOT, DOWN, SIGNED, SCALE, SHIFT = 0, 16, 24, 32, 40, 48, 49, 56
"""Where the parts of a hole begin in its second word. The field is the eight bytes at SLOT without
the upper DOWN bits."""


class Filling(Struct, frozen=True):
    """What belongs into a hole. ``slot`` is the offset of the field in the record, ``bytes`` its
    size, 0 if there is none."""

    base: int = 0
    addend: int = 0
    slot: int = 0
    bytes: int = 0
    signed: bool = False
    scale: int = 1
    shift: int = 0

    @property
    def symbol(self) -> str:
        """The symbol that stands for it in LLVM's text and in the object made of it."""
        return ".".join(("hole", *(str(int(part)) for part in astuple(self))))

    @classmethod
    def of_symbol(cls, symbol: str) -> Self:
        """What a symbol stands for. Raises ValueError if it is none of these."""
        mark, *parts = symbol.split(".")
        if mark != "hole" or len(parts) != len(cls.__struct_fields__):
            raise ValueError(f"{symbol!r} is no hole of a stencil")
        base, addend, slot, size, signed, scale, shift = map(int, parts)
        return cls(base, addend, slot, size, bool(signed), scale, shift)


class Hole(Struct, frozen=True):
    """A hole of ``size`` bytes at an offset of a stencil's code."""

    at: int
    size: int
    filling: Filling

    @property
    def constant(self) -> str:
        """The hole as a constant of LLVM's: the addend, and all else in a word by `PARTS`."""
        return f"{HOLE_TYPE} {{ i64 {self.filling.addend}, i64 {self._word} }}"

    @property
    def _word(self) -> int:
        filling, field = self.filling, 0
        if filling.bytes:
            down = 64 - 8 * filling.bytes
            field = down << DOWN | filling.signed << SIGNED | filling.scale << SCALE
        return (
            self.at << AT
            | self.size << SIZE
            | filling.base << BASE
            | filling.slot << SLOT
            | field
            | filling.shift << SHIFT
        )


class Stencil(Struct, frozen=True):
    """The code of an instruction, and its holes in ascending order."""

    code: bytes
    holes: tuple[Hole, ...]


class Stencils(Struct, frozen=True):
    """All stencils of an interpreter by the symbols of their handlers, and the constants that they
    refer to."""

    by_symbol: Mapping[str, Stencil]
    constants: bytes = b""
