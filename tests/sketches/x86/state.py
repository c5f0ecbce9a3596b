"""A sketch of x86-64 (Intel's Software Developer's Manual): its state, and how operands print.

What it is for: instructions of 1 to 15 bytes, lazy flags, registers of four widths, two decode
modes, moves that are restarted, frames pushed through virtual memory, code that changes itself.
Not described: segments but CS's L bit, privilege levels other than 0, and most instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bimetal.isa.decoding import DecodeMode
from bimetal.isa.describe import Isa
from bimetal.isa.state import StateSpec
from bimetal.isa.text import CompositeKind, Kind, named, number, optional

from .rows import FETCH, NONE, RIP, scan, unscan

__all__ = ["CONDITIONS", "IF", "NAMES", "x86"]

LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
NAMES = {
    64: (*(f"r{name}" for name in LEGACY), *(f"r{n}" for n in range(8, 16))),
    32: (*(f"e{name}" for name in LEGACY), *(f"r{n}d" for n in range(8, 16))),
    16: (*LEGACY, *(f"r{n}w" for n in range(8, 16))),
    8: (*("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"), *(f"r{n}b" for n in range(8, 16))),
}
HIGH = ("ah", "ch", "dh", "bh")
SIZES = {8: "byte", 16: "word", 32: "dword", 64: "qword"}
CONDITIONS = tuple("o no b ae e ne be a s ns p np l ge le g".split())
IF = 1 << 9

_state = StateSpec()
_state.scalars(64, "pc")
_state.file("r", 17, 64, zero=NONE, names=NAMES[64])
# The flags are those of the last operation, worked out when somebody looks at them.
_state.scalars(8, "flag_op", "flag_width", internal=True)
_state.scalars(64, "flag_a", "flag_b", "flag_r", internal=True)
# RFLAGS.IF, the selectors of CS and SS, and whether CS says that code is of 64 bits.
_state.scalars(8, "interrupts", "long")
_state.scalars(16, "cs", "ss")
_state.scalars(64, "cr0", "cr2", "cr3", "gdtr", "idtr")
_state.scalars(8, "shutdown", internal=True)
_state.file("xmm", 16, 128, names=[f"xmm{n}" for n in range(16)])
# MXCSR without the flags.
_state.scalars(32, "mxcsr_control", internal=True)
_state.file("line", 1, 8)


def width_of(fields: Mapping[str, int]) -> int:
    return 64 if fields["wide"] else 16 if fields["narrow"] else 32


def register_name(number: int, width: int, rex: int) -> str:
    return HIGH[number - 4] if width == 8 and not rex and 4 <= number < 8 else NAMES[width][number]


def show_memory(fields: Mapping[str, int], width: int) -> str:
    base, index, disp = fields["base"], fields["index"], fields["disp"]
    bits = 32 if fields["compatibility"] else 64
    terms = [] if base == NONE else ["rip" if base == RIP else NAMES[bits][base]]
    terms += [] if index == NONE else [f"{NAMES[bits][index]}*{1 << fields['scale']}"]
    disp -= disp >> 31 << 32
    text = " + ".join(terms) if terms else hex(disp)
    tail = f" {'-' if disp < 0 else '+'} {abs(disp):#x}" if terms and disp else ""
    return f"{SIZES[width]} ptr [{text}{tail}]"


def by_width(byte: bool, show: Callable[[Mapping[str, int], int], str]) -> CompositeKind:
    """An operand that is printed by its width; the sketch assembles bytes, not text."""

    def read(text: str, pc: int) -> dict[str, int]:
        raise ValueError("the sketch assembles bytes, not text")

    return CompositeKind(lambda fields, pc: show(fields, 8 if byte else width_of(fields)), read)


def show_e(fields: Mapping[str, int], width: int) -> str:
    if fields["memory"]:
        return show_memory(fields, width)
    return register_name(fields["rm"], width, fields["rex"])


def show_g(fields: Mapping[str, int], width: int) -> str:
    return register_name(fields["reg"], width, fields["rex"])


def show_m(fields: Mapping[str, int], width: int) -> str:
    return show_memory(fields, width).partition("ptr ")[2]


def show_w(fields: Mapping[str, int], width: int) -> str:
    return show_memory(fields, width) if fields["memory"] else f"xmm{fields['rm']}"


def show_o(fields: Mapping[str, int], width: int) -> str:
    return register_name(fields["rm"], width, fields["rex"])


_kinds: dict[str, Kind] = {
    "rel": number(is_signed=True),
    "cc": named(CONDITIONS),
    "rep": optional("", ("", "rep1 ", "repne ", "rep "), ""),
    "lock": optional("", ("", "lock "), ""),
    "Eb": by_width(True, show_e),
    "Ev": by_width(False, show_e),
    "Gb": by_width(True, show_g),
    "Gv": by_width(False, show_g),
    "Ov": by_width(False, show_o),
    "M": by_width(False, show_m),
    "V": by_width(False, lambda fields, width: f"xmm{fields['reg']}"),
    "Wd": by_width(False, lambda fields, width: show_w(fields, 64)),
    "Ws": by_width(False, lambda fields, width: show_w(fields, 32)),
    "s": number(is_signed=True, base=16),
}
x86 = Isa(
    "x86-sketch",
    _state,
    _kinds,
    granule=1,
    fetch=FETCH,
    scan=scan,
    unscan=unscan,
    modes=(DecodeMode("64-bit"), DecodeMode("compatibility", 32)),
    operands=24,
    coherent=True,
)
