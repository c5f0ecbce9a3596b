"""A sketch of 64-bit PowerPC (Power ISA, version 3.1B): its state and how operands print.

What it is for: bit rows with the manual's numbering, and two byte orders, of code and of data, as
decode modes. Not described: address translation, 32-bit mode, and most instructions.
"""

from __future__ import annotations

from bimetal.ir.ops import signed
from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.decoding import DecodeMode
from bimetal.isa.describe import Isa
from bimetal.isa.reservation import Reservation
from bimetal.isa.state import StateSpec
from bimetal.isa.text import OperandKind, in_range, named, number, optional

__all__ = ["BIG", "LITTLE", "LITTLE_ENDIAN", "R_NAMES", "SPRS", "ppc", "reservation"]

R_NAMES = tuple(f"r{n}" for n in range(32))
F_NAMES = tuple(f"f{n}" for n in range(32))
LITTLE_ENDIAN = 1  # of MSR
BIG, LITTLE = 0, 1
SPRS = {"xer": 1, "lr": 8, "ctr": 9, "dar": 19, "srr0": 26, "srr1": 27, "sprg0": 272, "sprg1": 273}

_state = StateSpec()
_state.scalars(64, "pc", "msr", *SPRS)
_state.scalars(32, "cr")
_state.file("r", 32, 64, names=R_NAMES)
_state.file("f", 32, 64, names=F_NAMES)
# FPSCR without the flags.
_state.scalars(64, "fpscr", internal=True)
# LPCR.ILE: the byte order of interrupt handlers.
_state.scalars(8, "ile")
_state.file("line", 1, 8)


def _show_words(value: int, width: int, pc: int) -> str:
    return hex((pc + 4 * signed(value, width)) & 0xFFFF_FFFF_FFFF_FFFF)


def _read_words(text: str, width: int, pc: int) -> int:
    return in_range(signed(int(text, 0) - pc & 0xFFFF_FFFF_FFFF_FFFF, 64) >> 2, width, True)


_kinds = {
    "u": number(),
    "s": number(is_signed=True),
    "s4": OperandKind(
        lambda value, width, pc: str(4 * signed(value, width)),
        lambda text, width, pc: in_range(int(text, 0) // 4, width, True),
    ),
    "rel4": OperandKind(_show_words, _read_words),
    "r": named(R_NAMES),
    "f": named(F_NAMES),
    "r0": named(("0", *R_NAMES[1:])),
    "cr": named([f"cr{n}" for n in range(8)]),
    "o": optional("", ("", "o"), ""),
    "dot": optional("", ("", "."), ""),
    "lk": optional("", ("", "l"), ""),
    "aa": optional("", ("", "a"), ""),
    "wd": optional("", ("w", "d"), "?"),
}


def _scan(raw: Value, mode: Value) -> tuple[Value, Value]:
    """The instruction in its own byte order, and above it the number of that."""
    word = select(mode == LITTLE, raw, pure("bswap", raw))
    return word.zext(40) | mode.zext(40) << 32, const(4, 8)


ppc = Isa(
    "ppc64-sketch",
    _state,
    _kinds,
    granule=4,
    fetch=4,
    order="big",
    msb0=True,
    scan=_scan,
    modes=(DecodeMode("big-endian"), DecodeMode("little-endian")),
    operands=24,
)
reservation = Reservation(ppc)
"""What lwarx and its likes make (II 1.7.4)."""
