"""Which opcodes have a ModRM byte and which immediates (volume 2, appendix A).

An opcode is ten bits: its byte, and above it the map: one-byte, 0F, 0F 38, 0F 3A. What is not
defined has the shape of its neighbours; it is undefined whatever its length is.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["FORCED_64", "HAS_MODRM", "IMMEDIATES", "IN_OPCODE", "NAMED_64", "REGISTER_ONLY"]


def _span(first: int, last: int) -> range:
    return range(first, last + 1)


def _mask(*parts: Iterable[int]) -> int:
    """A bit for each opcode."""
    return sum(1 << opcode for opcode in {opcode for part in parts for opcode in part})


_CLASSIC = [base + n for base in range(0, 0x40, 8) for n in range(4)]
_TWO, _38, _3A = 0x100, _span(0x200, 0x2FF), _span(0x300, 0x3FF)
_NO_MODRM_OF_0F = {
    *_span(0x05, 0x09), 0x0B, 0x0E, *_span(0x30, 0x37), 0x77, *_span(0x80, 0x8F),
    *_span(0xA0, 0xA2), *_span(0xA8, 0xAA), *_span(0xC8, 0xCF),
}  # fmt: skip
_0F = [_TWO | n for n in range(0x100) if n not in _NO_MODRM_OF_0F]

HAS_MODRM = _mask(
    _CLASSIC, _span(0x62, 0x63), (0x69, 0x6B), _span(0x80, 0x8F), (0xC0, 0xC1),
    _span(0xC4, 0xC7), _span(0xD0, 0xD3), _span(0xD8, 0xDF), (0xF6, 0xF7, 0xFE, 0xFF),
    _0F, _38, _3A,
)  # fmt: skip

REGISTER_ONLY = _mask(_span(_TWO | 0x20, _TWO | 0x27))
"""Moves of control and debug registers, whose ModRM names a register whatever it says."""

IN_OPCODE = _mask(
    _span(0x40, 0x5F), _span(0x90, 0x97), _span(0xB0, 0xBF), _span(_TWO | 0xC8, _TWO | 0xCF)
)
"""Those whose low bits name a register."""

_LAST = range(0, 0x40, 8)
IMMEDIATES = {
    "ib": _mask(
        (n + 4 for n in _LAST), (0x6A, 0x6B, 0x80, 0x82, 0x83, 0xA8, 0xC0, 0xC1, 0xC6, 0xCD),
        (0xD4, 0xD5), _span(0x70, 0x7F), _span(0xB0, 0xB7), _span(0xE0, 0xE7), (0xEB,),
        _span(_TWO | 0x70, _TWO | 0x73),
        (_TWO | n for n in (0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6)), _3A,
    ),
    "iw": _mask((0xC2, 0xCA, _TWO | 0x78)),
    "iz": _mask((n + 5 for n in _LAST), (0x68, 0x69, 0x81, 0xA9, 0xC7, 0xE8, 0xE9),
                _span(_TWO | 0x80, _TWO | 0x8F)),
    "iv": _mask(_span(0xB8, 0xBF)),
    "iwb": _mask((0xC8,)),
    "ap": _mask((0x9A, 0xEA)),
    "moffs": _mask(_span(0xA0, 0xA3)),
}  # fmt: skip
"""Immediates by their sizes: a byte, a word, the operand's but at most four bytes, the operand's,
a word and a byte (ENTER), an offset and a selector, an offset of an address's size. F6 and F7 have
one with /0 and /1 alone."""

NAMED_64 = _mask(
    _span(0x50, 0x5F), (0x68, 0x6A, 0x8F, 0x9C, 0x9D, 0xC8, 0xC9),
    (_TWO | n for n in (0xA0, 0xA1, 0xA8, 0xA9)),
)  # fmt: skip
"""Those with operands of 64 bits in 64-bit mode without REX.W (superscript d64), FF /6 too."""

FORCED_64 = _mask(
    _span(0x70, 0x7F), (0xC2, 0xC3, 0xE0, 0xE1, 0xE2, 0xE3, 0xE8, 0xE9, 0xEB),
    _span(_TWO | 0x80, _TWO | 0x8F),
)  # fmt: skip
"""Those with operands of 64 bits in 64-bit mode whatever the prefixes (f64), FF /2 and /4 too."""
