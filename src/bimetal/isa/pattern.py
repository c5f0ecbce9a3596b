"""Encodings as manuals draw them: a row of literal bits and named fields, most significant first.

``"imm[12|10:5] rs2:5 rs1:5 000 imm[4:1|11] 1100011"`` is RISC-V's branch format. A token is a run
of literal bits, ``name:width`` for a whole field, or ``name[...]`` for pieces of a field by their
bit numbers. Patterns are invertible: ``decode(encode(fields)) == fields``.

PowerPC numbers bits from the most significant one: with ``msb0`` the pieces of a field do, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import NamedTuple

__all__ = ["Pattern", "Piece"]


class Piece(NamedTuple):
    """``width`` bits of field ``name`` from bit ``low`` up, standing at bit ``at`` of the word."""

    name: str
    low: int
    at: int
    width: int


class _Token(NamedTuple):
    """``width`` bits of a row: literal ones, of a ``value``, or those of a field of a ``name``: the
    (high, low) bit numbers of its pieces, which are ``numbered`` by the row or, of a whole field,
    by its width."""

    width: int
    value: int
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
    if bits := match["bits"]:
        return _Token(len(bits), int(bits, 2), "", (), False)
    if match["width"]:
        width = int(match["width"])
        return _Token(width, 0, match["name"], ((width - 1, 0),), False)
    ranges = []
    for part in match["pieces"].split("|"):
        high, _, low = part.partition(":")
        ranges.append((int(high), int(low or high)))
    width = sum(abs(high - low) + 1 for high, low in ranges)  # msb0 counts downwards
    return _Token(width, 0, match["name"], tuple(ranges), True)


class Pattern:
    """One encoding. ``mask`` and ``match`` are its literal bits, ``width`` all of its bits. Where
    its fields are is found out when it is first asked for: of thousands of encodings, which
    whoever decodes has to know, a program uses some hundred."""

    def __init__(self, row: str, msb0: bool = False):
        self.row, self._msb0 = row, msb0
        self.mask = self.match = self.width = 0
        for word in row.split():
            token = _token(word)
            if token is None:
                raise ValueError(f"{word!r} in {row!r} is neither literal bits nor a field")
            width = token.width
            self.width += width
            self.match = self.match << width | token.value
            self.mask = self.mask << width | (0 if token.name else (1 << width) - 1)
        if self.width % 8:
            raise ValueError(f"{row!r} has {self.width} bits, not whole bytes")

    @cached_property
    def widths(self) -> Mapping[str, int]:
        """The fields' widths, in the order of the row."""
        widths: dict[str, int] = {}
        for token in self._tokens():
            if token.name:
                top = max(map(max, token.pieces))
                widths[token.name] = max(widths.get(token.name, 0), top + 1)
        return widths

    @cached_property
    def pieces(self) -> Sequence[Piece]:
        """The fields' pieces, the least significant first."""
        pieces, at = [], 0
        for token in reversed(self._tokens()):
            end = at + token.width
            for high, low in reversed(token.pieces):
                if self._msb0 and token.numbered:
                    top = self.widths[token.name] - 1
                    high, low = top - high, top - low
                pieces.append(Piece(token.name, low, at, high - low + 1))
                at += high - low + 1
            at = end
        return pieces

    def _tokens(self) -> list[_Token]:
        return [token for word in self.row.split() if (token := _token(word))]

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

    def unsigned(self, fields: Mapping[str, int]) -> dict[str, int]:
        """The fields as `decode` gives them, where signed ones may be negative."""
        return {name: v & ((1 << self.widths.get(name, 64)) - 1) for name, v in fields.items()}

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
