"""Bit fields and extraction (C4.1.92.6, C4.1.92.7)."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu
from ..operands import FORMS, Form, write
from ..state import a64


def _bit_field(form: Form, name: str, opc: str) -> None:
    """SBFM, BFM and UBFM: bits imms to immr move down to bit 0, or the bits up to imms move up by
    the width less immr. The fields decide which, when the instruction is decoded."""
    r, width, sf = form

    @a64.insn(
        f"{sf} {opc} 100110 {sf} immr:6 imms:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{immr:i}}, {{imms:i}}",
        where=(lambda **_: True) if width == 64 else _both_small,
    )
    def meaning(cpu: Cpu, immr: Value, imms: Value, Rn: Value, Rd: Value) -> None:
        low, high = immr.zext(width), imms.zext(width)
        value, top = cpu.x[Rn].trunc(width), width - 1
        extracts = high.uge(low)
        # Left until the field's highest bit is the sign, then right to its place.
        left = (top - high) & top
        right = select(extracts, (top - high) + low, low - high - 1) & top
        if name == "sbfm":
            write(cpu, Rd, (value << left).asr(right))
            return
        field = (value << left).lsr(right)
        if name == "bfm":
            mask = (const(-1, width) << left).lsr(right)
            field = (cpu.x[Rd].trunc(width) & ~mask) | field
        write(cpu, Rd, field)


def _both_small(immr: Value | int, imms: Value | int, **_: Value | int) -> Value | bool:
    return ((immr & 32) == 0) & ((imms & 32) == 0)


def _extract(form: Form) -> None:
    r, width, sf = form

    @a64.insn(
        f"{sf} 00 100111 {sf} 0 Rm:5 imms:6 Rn:5 Rd:5",
        f"extr {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}, {{imms:i}}",
        where=lambda imms, **_: (imms & (63 & ~(width - 1))) == 0,
    )
    def meaning(cpu: Cpu, Rm: Value, imms: Value, Rn: Value, Rd: Value) -> None:
        low, high = cpu.x[Rm].trunc(width), cpu.x[Rn].trunc(width)
        # So hosts know it as a rotation where both are one register; a distance may be 0.
        by = imms.zext(width)
        write(cpu, Rd, low.lsr(by) | (high << 1) << (width - 1 - by))


for _form in FORMS:
    for _name, _opc in (("sbfm", "00"), ("bfm", "01"), ("ubfm", "10")):
        _bit_field(_form, _name, _opc)
    _extract(_form)
