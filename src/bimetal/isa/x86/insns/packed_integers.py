"""Packed integers of MMX, SSE2, SSSE3, SSE4.1, SSE4.2, AVX and AVX2: arithmetic of two operands,
and shifts by an immediate."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.value import Value
from ....ir.vector import table
from ...trace import Cpu
from ..packed import OPERATIONS, SHIFTS, UNARY, Packed, iota, least_word, shifted
from ..simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    encode_all,
    in_parts,
    read_parts,
    read_source,
    write_parts,
)

for _row in OPERATIONS:
    encode_all(
        Encoding(_row.name, "66", f"{_row.opcode} /r"),
        in_parts(_row.operation, 32 if _row.name.startswith("punpckl") else 64),
        mmx=_row.mmx, sse=_row.sse, avx="avx", avx2="avx2",
    )  # fmt: skip


def _by_amount(row: Packed) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        amount = read_source(cpu, fields, form, form.part)[0]
        parts = read_parts(cpu, form.first(fields), form)
        write_parts(cpu, fields["reg"], [row.operation(part, amount) for part in parts], form)

    return meaning


for _row in SHIFTS:
    _opcode, _meaning = f"{_row.opcode} /r", _by_amount(_row)
    encode_all(Encoding(_row.name, "66", _opcode), _meaning, mmx="mmx", sse="sse2", avx="avx")
    encode_all(Encoding(_row.name, "66", _opcode, "V@ Wdq"), _meaning, avx2="avx2")

for _row in UNARY:
    encode_all(
        Encoding(_row.name, "66", f"{_row.opcode} /r", third=False),
        in_parts(_row.operation),
        mmx=_row.mmx, sse=_row.sse, avx="avx", avx2="avx2",
    )  # fmt: skip

encode_all(
    Encoding("phminposuw", "66", "0f38 41 /r", third=False),
    in_parts(lambda a, b: least_word(b)),
    sse="sse4_1", avx="avx",
)  # fmt: skip


# -- shifts by an immediate: groups 12 to 14, whose destination with VEX is the one in VEX.vvvv


def _by_immediate(name: str, opcode: str, middle: int, operation: str, lane: int) -> None:
    shift = shifted(operation, lane)

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        amount = fields["imm"].trunc(8).zext(64)
        parts = [shift(part, amount) for part in read_parts(cpu, fields["rm"], form)]
        write_parts(cpu, fields["vvvv" if form.vex else "rm"], parts, form)

    _shift_forms(name, opcode, middle, meaning, has_mmx=True)


def _shift_forms(name, opcode, middle, meaning, has_mmx) -> None:  # type: ignore[no-untyped-def]
    rest = f"0f {opcode} /{middle} ib reg"
    forms = [
        (f"66 {rest}", f"{name} {{:Udq}}, {{:Ib}}", "sse2", Form(128, vex=False)),
        (f"vex.128.66.{rest}", f"v{name} {{:Hdq}}, {{:Udq}}, {{:Ib}}", "avx", Form(128, vex=True)),
        (f"vex.256.66.{rest}", f"v{name} {{:Hqq}}, {{:Uqq}}, {{:Ib}}", "avx2", Form(256, vex=True)),
    ]
    if has_mmx:
        forms.append((f"np {rest}", f"{name} {{:Nq}}, {{:Ib}}", "mmx", Form(64, vex=False)))
    for row, text, extension, form in forms:

        @describe(row, text, extension)
        def instruction(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            meaning(cpu, form, fields)


for _name, _opcode, _middle, _operation, _lane in (
    ("psrlw", "71", 2, "lsr", 16), ("psraw", "71", 4, "asr", 16), ("psllw", "71", 6, "shl", 16),
    ("psrld", "72", 2, "lsr", 32), ("psrad", "72", 4, "asr", 32), ("pslld", "72", 6, "shl", 32),
    ("psrlq", "73", 2, "lsr", 64), ("psllq", "73", 6, "shl", 64),
):  # fmt: skip
    _by_immediate(_name, _opcode, _middle, _operation, _lane)


def _by_bytes(name: str, middle: int, left: bool) -> None:
    """All of a part, by bytes."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        parts = []
        for part in read_parts(cpu, fields["rm"], form):
            parts.append(table(iota(fields["imm"], left), part))
        write_parts(cpu, fields["vvvv" if form.vex else "rm"], parts, form)

    _shift_forms(name, "73", middle, meaning, has_mmx=False)


_by_bytes("psrldq", 3, left=False)
_by_bytes("pslldq", 7, left=True)
