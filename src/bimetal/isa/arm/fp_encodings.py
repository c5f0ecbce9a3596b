"""Where Advanced SIMD's encodings say which format their numbers have (C4.1.96).

Single and double precision differ in one bit of the size. Half precision, which came later, has
rows of its own with the same opcodes.
"""

from __future__ import annotations

from msgspec import Struct

from .fp import DOUBLE, HALF, SINGLE, Format, Numbers

__all__ = ["FORMATS", "SHAPES", "Shape", "extension_of", "text_of", "three_registers",
           "two_registers"]  # fmt: skip

FORMATS = (HALF, SINGLE, DOUBLE)


class Shape(Struct, frozen=True):
    """Numbers in a register: their format, the bit Q, and how assembly says it."""

    form: Format
    q: str
    arrangement: str

    @property
    def numbers(self) -> Numbers:
        """What an operand of this shape holds."""
        return Numbers(self.form, 128 if self.q == "1" else 64)


SHAPES = (
    Shape(HALF, "0", "4h"), Shape(HALF, "1", "8h"), Shape(SINGLE, "0", "2s"),
    Shape(SINGLE, "1", "4s"), Shape(DOUBLE, "1", "2d"),
)  # fmt: skip


def extension_of(form: Format) -> str:
    """The chapter of what is described for every format, if it is not the module's own."""
    return "fp16" if form is HALF else ""


def text_of(name: str, arrangement: str, *fields: str) -> str:
    """``fadd {Rd:v}.4s, {Rn:v}.4s``."""
    return f"{name} " + ", ".join(f"{{{field}:v}}.{arrangement}" for field in fields)


def three_registers(form: Format, a: str, opcode: str) -> str:
    """From the upper bit of the size on, if an operand follows in Rm."""
    if form is HALF:
        return f"{a}10 Rm:5 00 {opcode[-3:]} 1 Rn:5 Rd:5"
    return f"{a}{form.code[1]} 1 Rm:5 {opcode} 1 Rn:5 Rd:5"


def two_registers(form: Format, a: str, opcode: str) -> str:
    """The same for instructions with one operand."""
    size = f"{a}1 11100" if form is HALF else f"{a}{form.code[1]} 10000"
    return f"{size} {opcode} 10 Rn:5 Rd:5"
