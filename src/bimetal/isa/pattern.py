"""Encodings as manuals draw them: a row of literal bits and named fields, most significant first.

``"imm[12|10:5] rs2:5 rs1:5 000 imm[4:1|11] 1100011"`` is RISC-V's branch format. A token is a run
of literal bits, ``name:width`` for a whole field, or ``name[...]`` for pieces of a field by their
bit numbers. Patterns are invertible: ``decode(encode(fields)) == fields``.

PowerPC numbers bits from the most significant one: with ``msb0`` the pieces of a field do, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Pattern", "Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """``width`` bits of field ``name`` from bit ``low`` up, standing at bit ``at`` of the word."""

    name: str
    low: int
    at: int
    width: int


_TOKEN = re.compile(r"(?P<bits>[01]+)|(?P<name>\w+)(?::(?P<width>\d+)|\[(?P<pieces>[\d:|]+)\])")


def _pieces(match: re.Match[str]) -> list[tuple[int, int]]:
    """The (high, low) bit numbers of a field token."""
    if match["width"]:
        return [(int(match["width"]) - 1, 0)]
    ranges = []
    for part in match["pieces"].split("|"):
        high, _, low = part.partition(":")
        ranges.append((int(high), int(low or high)))
    return ranges


class Pattern:
    """One encoding. ``mask`` and ``match`` are its literal bits, ``widths`` its fields' widths."""

    def __init__(self, row: str, msb0: bool = False):
        self.row = row
        self.pieces: list[Piece] = []
        self.widths: dict[str, int] = {}
        self.mask = self.match = 0
        tokens: list[re.Match[str]] = []
        for word in row.split():
            token = _TOKEN.fullmatch(word)
            if token is None:
                raise ValueError(f"{word!r} in {row!r} is neither literal bits nor a field")
            tokens.append(token)
        fields = [(t["name"], _pieces(t)) for t in tokens if t["name"]]
        for name, ranges in fields:
            top = max(max(piece) for piece in ranges)
            self.widths[name] = max(self.widths.get(name, 0), top + 1)
        at = 0
        for token in reversed(tokens):
            if token["bits"]:
                at = self._literal(token["bits"], at)
            else:
                at = self._field(token["name"], _pieces(token), at, msb0 and not token["width"])
        self.width = at
        if self.width % 8:
            raise ValueError(f"{row!r} has {self.width} bits, not whole bytes")

    def _literal(self, bits: str, at: int) -> int:
        self.mask |= ((1 << len(bits)) - 1) << at
        self.match |= int(bits, 2) << at
        return at + len(bits)

    def _field(self, name: str, ranges: list[tuple[int, int]], at: int, msb0: bool) -> int:
        for high, low in reversed(ranges):
            if msb0:
                high, low = self.widths[name] - 1 - high, self.widths[name] - 1 - low
            width = high - low + 1
            self.pieces.append(Piece(name, low, at, width))
            at += width
        return at

    def field_mask(self, name: str) -> int:
        """The bits of field ``name`` that the encoding holds (the others are zero)."""
        return sum(((1 << p.width) - 1) << p.low for p in self.pieces if p.name == name)

    def decode(self, word: int) -> dict[str, int] | None:
        """The fields of ``word`` as unsigned integers, or None if the literal bits differ."""
        if word & self.mask != self.match:
            return None
        fields = dict.fromkeys(self.widths, 0)
        for piece in self.pieces:
            fields[piece.name] |= (word >> piece.at & (1 << piece.width) - 1) << piece.low
        return fields

    def encode(self, fields: Mapping[str, int]) -> int:
        """The word with these fields; a signed field may be given as a negative integer."""
        word = self.match
        for name, width in self.widths.items():
            value = fields[name] & ((1 << width) - 1)
            if fields[name] not in (value, value - (1 << width)) or value & ~self.field_mask(name):
                raise ValueError(f"{name}={fields[name]:#x} cannot be encoded in {self.row!r}")
        for piece in self.pieces:
            value = fields[piece.name] & ((1 << self.widths[piece.name]) - 1)
            word |= (value >> piece.low & (1 << piece.width) - 1) << piece.at
        return word
