"""Numbers of 80 bits taken apart, and what rounds them: see `extended`."""

from __future__ import annotations

from msgspec import Struct

from .fp import Rounding

__all__ = [
    "BIAS", "C0", "C1", "C2", "C3", "DE", "IE", "INDEFINITE", "INFINITY", "OE", "PE", "QUANTUM",
    "SIGN", "TOP", "UE", "ZE", "Number", "Work", "unpack",
]  # fmt: skip

IE, DE, ZE, OE, UE, PE = (1 << n for n in range(6))
C0, C1, C2, C3 = 1 << 8, 1 << 9, 1 << 10, 1 << 14
SIGN, TOP = 1 << 79, 1 << 63
INFINITY, INDEFINITE = 0x7FFF << 64 | TOP, 0xFFFF << 64 | 3 << 62
MODES = (Rounding.NEAREST_EVEN, Rounding.DOWN, Rounding.UP, Rounding.TOWARD_ZERO)
PRECISION = (24, 24, 53, 64)
BIAS = 16383
QUANTUM = 1 - BIAS - 63
"""The exponent of the last place of subnormal numbers."""


class Number(Struct, frozen=True):
    """An unpacked operand: ``kind`` is "finite", "infinite", "nan" or "unsupported"."""

    bits: int
    kind: str
    sign: int
    mantissa: int
    exponent: int

    @property
    def zero(self) -> bool:
        """Whether it is a zero."""
        return self.kind == "finite" and not self.mantissa

    @property
    def signalling(self) -> bool:
        """Whether it is a signalling NaN."""
        return self.kind == "nan" and not self.mantissa >> 62 & 1

    @property
    def subnormal(self) -> bool:
        """Whether it is subnormal, or written as if it were."""
        return self.kind == "finite" and self.mantissa != 0 and not self.bits >> 64 & 0x7FFF


def unpack(bits: int) -> Number:
    """A number of 80 bits."""
    sign, biased, mantissa = bits >> 79, bits >> 64 & 0x7FFF, bits & (1 << 64) - 1
    if biased and not mantissa & TOP:
        kind = "unsupported"
    elif biased == 0x7FFF:
        kind = "infinite" if mantissa == TOP else "nan"
    else:
        kind = "finite"
    return Number(bits, kind, sign, mantissa, QUANTUM + max(biased, 1) - 1)


class Work:
    """One operation: its control word, and the status that it makes."""

    def __init__(self, control: int):
        self.mode, self.precision = MODES[control >> 10 & 3], PRECISION[control >> 8 & 3]
        self.status = 0

    def rounded(self, sign: int, mantissa: int, shift: int) -> int:
        """``mantissa`` without its last ``shift`` bits; C1 says that it grew."""
        if shift <= 0:
            return mantissa << -shift
        kept, rest = mantissa >> shift, mantissa & (1 << shift) - 1
        if not rest:
            return kept
        half = 1 << shift - 1
        nearest = rest > half or (rest == half and bool(kept & 1))
        away = {
            Rounding.NEAREST_EVEN: nearest,
            Rounding.DOWN: bool(sign),
            Rounding.UP: not sign,
        }.get(self.mode, False)
        self.status |= PE | (C1 if away else 0)
        return kept + away

    def pack(self, sign: int, mantissa: int, exponent: int, precision: int = 0) -> int:
        """The number ``mantissa * 2**exponent``, rounded."""
        signed = SIGN if sign else 0
        if not mantissa:
            return signed
        precision = precision or self.precision
        free = exponent + mantissa.bit_length() - precision
        least = QUANTUM + 64 - precision
        before = self.status
        result, place = self.rounded(sign, mantissa, free - exponent), free
        if result.bit_length() > precision:
            result, place = result >> 1, place + 1
        if place < least:
            self.status = before
            result, place = self.rounded(sign, mantissa, least - exponent), least
            if self.status & PE:
                self.status |= UE
        result, place = result << 64 - precision, place - (64 - precision)
        if result.bit_length() > 64:
            result, place = result >> 1, place + 1
        if place + 63 > BIAS:
            return self.overflow(sign, precision)
        if not result & TOP:
            return signed | result
        return signed | (place - QUANTUM + 1) << 64 | result

    def overflow(self, sign: int, precision: int) -> int:
        """Infinity, or the largest number of a precision."""
        self.status = self.status & ~C1 | OE | PE
        signed = SIGN if sign else 0
        away = Rounding.DOWN if sign else Rounding.UP
        if self.mode in (Rounding.NEAREST_EVEN, away):
            self.status |= C1
            return signed | INFINITY
        largest = ((1 << precision) - 1) << 64 - precision
        return signed | 0x7FFE << 64 | largest

    def invalid(self) -> int:
        """The default NaN."""
        self.status |= IE
        return INDEFINITE

    def nan_of(self, *operands: Number) -> int | None:
        """The result if an operand is none, or is a NaN; of two the larger significand's."""
        if any(x.kind == "unsupported" for x in operands):
            return self.invalid()
        nans = [x for x in operands if x.kind == "nan"]
        if any(x.signalling for x in nans):
            self.status |= IE
        if not nans:
            if any(x.subnormal for x in operands):
                self.status |= DE
            return None
        if len(nans) > 1 and nans[0].signalling != nans[1].signalling:
            # The quiet one, where the other is signalling.
            nans = [x for x in nans if not x.signalling]
        best = max(nans, key=lambda x: (x.mantissa | 1 << 62, -x.sign))
        return best.bits | 1 << 62
