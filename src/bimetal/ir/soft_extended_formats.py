"""Conversions between extended precision and other formats in exact integers: see `extended`."""

from __future__ import annotations

from collections.abc import Callable

from .fp import Rounding
from .soft_extended_work import BIAS, C1, DE, IE, OE, PE, SIGN, TOP, UE, Number, Work

__all__ = ["from_bcd", "from_format", "from_integer", "to_bcd", "to_format", "to_integer"]


def to_format(width: int, precision: int) -> Callable[[Work, Number], int]:
    """FST to single or double precision."""
    bias = (1 << width - precision - 1) - 1
    sign_bit, infinity = 1 << width - 1, (2 * bias + 1) << precision - 1
    quiet = 1 << precision - 2

    def store(work: Work, a: Number) -> int:
        signed = sign_bit if a.sign else 0
        if a.kind == "unsupported":
            work.status |= IE
            return sign_bit | infinity | quiet
        if a.kind == "nan":
            work.status |= IE if a.signalling else 0
            return signed | infinity | quiet | a.mantissa << 1 >> 65 - precision & quiet - 1
        if a.kind == "infinite":
            return signed | infinity
        if a.zero:
            return signed
        least = 2 - bias - precision
        free = a.exponent + a.mantissa.bit_length() - precision
        result, place = work.rounded(a.sign, a.mantissa, free - a.exponent), free
        if result.bit_length() > precision:
            result, place = result >> 1, place + 1
        tiny = place < least
        if free < least:
            work.status &= ~(PE | C1)
            result, place = work.rounded(a.sign, a.mantissa, least - a.exponent), least
        if tiny and work.status & PE:
            work.status |= UE
        if result.bit_length() > precision:
            result, place = result >> 1, place + 1
        if place + precision - 1 > bias:
            work.status = work.status & ~C1 | OE | PE
            away = Rounding.DOWN if a.sign else Rounding.UP
            grown = work.mode in (Rounding.NEAREST_EVEN, away)
            work.status |= C1 if grown else 0
            return signed | infinity - (not grown)
        return signed | ((place - least) << precision - 1) + result

    return store


def from_format(width: int, precision: int) -> Callable[[Work, int], int]:
    """FLD of single or double precision."""

    def load(work: Work, bits: int) -> int:
        sign = SIGN if bits >> width - 1 else 0
        fraction = bits & (1 << precision - 1) - 1
        biased = bits >> precision - 1 & (1 << width - precision) - 1
        most = (1 << width - precision) - 1
        bias = most >> 1
        if biased == most:
            if fraction and not fraction >> precision - 2:
                work.status |= IE
                fraction |= 1 << precision - 2
            return sign | 0x7FFF << 64 | TOP | fraction << 64 - precision
        if not biased:
            if not fraction:
                return sign
            work.status |= DE
            up = 64 - fraction.bit_length()
            exponent = 2 - bias - precision - up + 63 + BIAS
            return sign | exponent << 64 | fraction << up
        return sign | (biased - bias + BIAS) << 64 | TOP | fraction << 64 - precision

    return load


def to_integer(width: int, cut: bool) -> Callable[[Work, Number], int]:
    """FIST and FISTTP."""
    half = 1 << width - 1

    def store(work: Work, a: Number) -> int:
        if cut:
            work.mode = Rounding.TOWARD_ZERO
        if a.kind == "finite":
            size = work.rounded(a.sign, a.mantissa, -a.exponent)
            value = -size if a.sign else size
            if -half <= value < half:
                return value & 2 * half - 1
        work.status = IE
        return half

    return store


def from_integer(work: Work, bits: int) -> int:
    """FILD."""
    value = bits - (bits >> 63 << 64)
    return work.pack(int(value < 0), abs(value), 0, 64)


def to_bcd(work: Work, a: Number) -> int:
    """FBSTP: eighteen digits and a sign."""
    if a.kind == "finite":
        whole = work.rounded(a.sign, a.mantissa, -a.exponent)
        if whole < 10**18:
            return a.sign << 79 | int(str(whole), 16)
    work.status = IE
    return 0xFFFFC << 60 | 0


def from_bcd(work: Work, bits: int) -> int:
    """FBLD."""
    whole = sum((bits >> 4 * n & 15) * 10**n for n in range(18))
    return work.pack(bits >> 79, whole, 0, 64)
