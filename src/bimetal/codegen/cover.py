"""The code of a page that a region was made of, by which it is found again.

A region is not that of a page but of its own instructions. A kernel keeps pointers beside its
functions, which are others wherever it lies, and it writes other jumps into its code as it runs:
what stands elsewhere in a page says nothing of a region.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable
from typing import NamedTuple, Self

from msgspec import Struct

from ..isa.decoding import Decoding
from .layout import PAGE

__all__ = ["LINE", "Cover", "Line", "family_of", "lines_of", "merged"]

LINE = 16
"""Bytes of a page by which regions are looked up: four instructions where these have four."""


class Line(NamedTuple):
    """A line of a page by its number, and what stands there."""

    number: int
    content: bytes

    def key(self, family: str) -> str:
        """The store's key of the regions of a family that are found by this line."""
        return f"{family} {self.number:x} {self.content.hex()}"

    @classmethod
    def of_key(cls, key: str) -> Self:
        """The line of a key. Raises ValueError if it is none."""
        _, number, content = key.split(" ")
        return cls(int(number, 16), bytes.fromhex(content))


_LINES = struct.Struct(f"{LINE}s" * (PAGE // LINE))


def lines_of(code: bytes) -> tuple[bytes, ...]:
    """The contents of a page's lines."""
    return _LINES.unpack(code)


def family_of(engine: bytes, decoding: Decoding) -> str:
    """A name for what one engine, by its digest, makes of code that is decoded in one way."""
    return hashlib.blake2b(repr(decoding).encode(), digest_size=20, key=engine).hexdigest()


class Cover(Struct, frozen=True):
    """Where the instructions of a region lie in their page, as spans from a first offset to behind
    the last, and a digest of what they are."""

    spans: tuple[tuple[int, int], ...] = ()
    digest: str = ""

    @classmethod
    def of(cls, code: bytes, spans: tuple[tuple[int, int], ...]) -> Self:
        """What spans of a page's code hold now."""
        return cls(spans, _digest(code, spans))

    @property
    def bits(self) -> int:
        """A bit for each byte of the page that is covered."""
        return sum((1 << end) - (1 << start) for start, end in self.spans)

    def check(self) -> None:
        """Raises ValueError where spans are not in a page, one after the other."""
        last = 0
        for start, end in self.spans:
            if not (type(start) is int and type(end) is int and last <= start < end <= PAGE):
                raise ValueError(f"{start!r} to {end!r} is no span of a page")
            last = end

    def fits(self, code: bytes) -> bool:
        """Whether the same instructions stand in a page."""
        return _digest(code, self.spans) == self.digest

    def line(self, code: bytes) -> Line:
        """The line by which a region of this code is looked up: one that is covered as far as any
        is, and of these not one that many regions begin with."""
        covered = self.bits

        def worth(line: Line) -> tuple[int, bytes]:
            bits = covered >> line.number * LINE & (1 << LINE) - 1
            return bits.bit_count(), hashlib.blake2b(line.content, digest_size=8).digest()

        return max(itertools.starmap(Line, enumerate(lines_of(code))), key=worth)


def merged(pieces: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Pieces of a page, by first offset and the one behind the last, as few spans."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(pieces):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return tuple(spans)


def _digest(code: bytes, spans: tuple[tuple[int, int], ...]) -> str:
    covered = b"".join(code[start:end] for start, end in spans)
    return hashlib.blake2b(covered, digest_size=20).hexdigest()
