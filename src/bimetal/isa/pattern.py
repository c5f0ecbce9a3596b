"""Encodings as manuals draw them: a row of literal bits and named fields, most significant first.

``"imm[12|10:5] rs2:5 rs1:5 000 imm[4:1|11] 1100011"`` is RISC-V's branch format. A token is a run
of literal bits, ``name:width`` for a whole field, or ``name[...]`` for pieces of a field by their
bit numbers. Patterns are invertible: ``decode(encode(fields)) == fields``.

PowerPC numbers bits from the most significant one: with ``msb0`` the pieces of a field do, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

__all__ = ["Pattern", "Piece"]


class Piece(NamedTuple):
    """``width`` bits of field ``name`` from bit ``low`` up, standing at bit ``at`` of the word."""

    name: str
    low: int
    at: int
    width: int


class _Token(NamedTuple):
    """Literal ``bits``, or a field of a ``name``: the (high, low) bit numbers of its pieces, which
    are ``numbered`` by the row or, of a whole field, by its width."""

    bits: str
    name: str
    pieces: tuple[tuple[int, int], ...]
    numbered: bool


_TOKEN = re.compile(r"(?P<bits>[01]+)|(?P<name>\w+)(?::(?P<width>\d+)|\[(?P<pieces>[\d:|]+)\])")


@cache  # there are thousands of rows, of some hundred words
def _token(word: str) -> _Token | None:
    """What a word of a row is; None if it is nothing."""
    match = _TOKEN.fullmatch(word)
    if match is None:
        return None
    if match["bits"]:
        return _Token(match["bits"], "", (), False)
    if match["width"]:
        return _Token("", match["name"], ((int(match["width"]) - 1, 0),), False)
    ranges = []
    for part in match["pieces"].split("|"):
        high, _, low = part.partition(":")
        ranges.append((int(high), int(low or high)))
    return _Token("", match["name"], tuple(ranges), True)


class Pattern:
    """One encoding. ``mask`` and ``match`` are its literal bits, ``widths`` its fields' widths."""

    def __init__(self, row: str, msb0: bool = False):
        self.row = row
        self.pieces: list[Piece] = []
        self.widths: dict[str, int] = {}
        self.mask = self.match = 0
        tokens: list[_Token] = []
        for word in row.split():
            token = _token(word)
            if token is None:
                raise ValueError(f"{word!r} in {row!r} is neither literal bits nor a field")
            tokens.append(token)
            if token.name:
                top = max(map(max, token.pieces))
                self.widths[token.name] = max(self.widths.get(token.name, 0), top + 1)
        at = 0
        for token in reversed(tokens):
            at = self._literal(token, at) if token.bits else self._field(token, at, msb0)
        self.width = at
        if self.width % 8:
            raise ValueError(f"{row!r} has {self.width} bits, not whole bytes")

    def _literal(self, token: _Token, at: int) -> int:
        width = len(token.bits)
        self.mask |= ((1 << width) - 1) << at
        self.match |= int(token.bits, 2) << at
        return at + width

    def _field(self, token: _Token, at: int, msb0: bool) -> int:
        for high, low in reversed(token.pieces):
            if msb0 and token.numbered:
                top = self.widths[token.name] - 1
                high, low = top - high, top - low
            width = high - low + 1
            self.pieces.append(Piece(token.name, low, at, width))
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
