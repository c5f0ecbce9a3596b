"""Formats of pixels that clients ask for (RFC 6143, section 7.4)."""

from __future__ import annotations

from functools import cached_property
from struct import Struct

import msgspec

__all__ = ["NATIVE", "SOURCE", "ClientFormat"]

_LAYOUT = Struct(">BBBBHHHBBB3x")

SIZES = {8: 1, 16: 2, 32: 4}
SOURCE = 4
"""Bytes of a pixel here: blue, green, red and one that means nothing."""


class ClientFormat(msgspec.Struct, frozen=True, dict=True):
    """A format as it is on the wire, whose ``depth`` of colours counts only where a byte of a pixel
    is left away. Raises ValueError for one that cannot be."""

    bits: int = 32
    depth: int = 24
    big_endian: int = 0
    true_colour: int = 1
    maxima: tuple[int, ...] = (255, 255, 255)
    shifts: tuple[int, ...] = (16, 8, 0)
    """Of red, green and blue."""

    def __post_init__(self) -> None:
        if self.bits not in SIZES or not self.true_colour:
            raise ValueError("pixels of 8, 16 or 32 bits of true colour are what there is")
        for maximum, shift in zip(self.maxima, self.shifts, strict=True):
            if not 0 < maximum < 1 << 16 or shift > 31 or maximum << shift >= 1 << self.bits:
                raise ValueError("a colour does not fit into its pixel")

    @classmethod
    def of(cls, data: bytes) -> ClientFormat:
        """The format that 16 bytes of a message mean. Raises ValueError."""
        bits, depth, big, true, *rest = _LAYOUT.unpack(data)
        return cls(bits, depth, int(bool(big)), int(bool(true)), tuple(rest[:3]), tuple(rest[3:]))

    @property
    def wire(self) -> bytes:
        """The 16 bytes that mean it."""
        return _LAYOUT.pack(
            self.bits, self.depth, self.big_endian, self.true_colour, *self.maxima, *self.shifts
        )

    @property
    def size(self) -> int:
        """Bytes of a pixel."""
        return SIZES[self.bits]

    def convert(self, pixels: bytes) -> bytes:
        """Pixels in the form for viewers, in this one."""
        if self == NATIVE:
            return pixels
        colours = pixels[2::SOURCE], pixels[1::SOURCE], pixels[0::SOURCE]
        made = bytearray(len(pixels) // SOURCE * self.size)
        for place, tables in enumerate(self._tables):
            total = 0
            for colour, table in zip(colours, tables, strict=True):
                if table is not None:
                    total |= int.from_bytes(colour.translate(table), "little")
            made[place :: self.size] = total.to_bytes(len(colours[0]), "little")
        return bytes(made)

    @cached_property
    def compact(self) -> slice | None:
        """Which three bytes of a pixel have all of its colours, if the others need not be sent
        (the CPIXEL of 7.7.5)."""
        if self.bits != 32 or self.depth > 24:
            return None
        used = 0
        for maximum, shift in zip(self.maxima, self.shifts, strict=True):
            used |= maximum << shift
        if used < 1 << 24:
            return slice(1, 4) if self.big_endian else slice(0, 3)
        if not used & 0xFF:
            return slice(0, 3) if self.big_endian else slice(1, 4)
        return None

    @property
    def is_24_bits(self) -> bool:
        """Whether colours have eight bits each, in pixels of 32: where Tight sends three bytes."""
        return self.bits == 32 and self.depth == 24 and self.maxima == (255, 255, 255)

    @cached_property
    def _tables(self) -> list[list[bytes | None]]:
        """For each byte of a pixel what it has of each colour; None for nothing."""
        tables: list[list[bytes | None]] = [[] for _ in range(self.size)]
        for maximum, shift in zip(self.maxima, self.shifts, strict=True):
            values = [
                ((value * maximum + 127) // 255 << shift).to_bytes(
                    self.size, "big" if self.big_endian else "little"
                )
                for value in range(256)
            ]
            for place in range(self.size):
                table = bytes(value[place] for value in values)
                tables[place].append(table if any(table) else None)
        return tables


NATIVE = ClientFormat()
"""The form for viewers."""
