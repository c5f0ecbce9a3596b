"""Conversions of SSE, SSE2 and AVX: between formats, and between numbers and integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import fp
from ....ir.softfloat import SINGLE
from ....ir.value import Value
from ...trace import Cpu
from ..mmx_state import read_mmx, use_mmx
from ..numbers import LEGACY, scalar_forms, subnormal
from ..operands import operand, pinned_memory
from ..simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    encode_all,
    load_parts,
    merged,
    read_source,
    write_parts,
)
from ..vector_state import exactly

Conversion = Callable[[Value], Value]


def _same_size(convert: Conversion) -> Meaning:
    """Conversions of as many lanes as there are."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        source = read_source(cpu, fields, form)
        write_parts(
            cpu, fields["reg"], exactly(cpu, lambda: [convert(part) for part in source]), form
        )

    return meaning


for _name, _prefix, _opcode, _since, _convert in (
    ("cvtdq2ps", "np", "5b", "sse2", lambda part: fp.from_signed(part, 32, 32)),
    ("cvtps2dq", "66", "5b", "sse2", lambda part: fp.rounded_or_lowest(part, 32, 32)),
    ("cvttps2dq", "f3", "5b", "sse2", lambda part: fp.to_signed_or_lowest(part, 32, 32)),
):
    encode_all(
        Encoding(_name, _prefix, f"0f {_opcode} /r", third=False),
        _same_size(_convert), sse=_since, avx="avx", avx2="avx", restartable=True,
    )  # fmt: skip


def _wider(convert: Conversion) -> Meaning:
    """Conversions of half as many bits: 64 for a register of 128."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        source = read_source(cpu, fields, form, form.width // 2, aligned=False)
        halves = [source[0].trunc(64), source[0][127:64]] if form.width == 256 else source
        write_parts(
            cpu, fields["reg"], exactly(cpu, lambda: [convert(half) for half in halves]), form
        )

    return meaning


def _narrower(convert: Conversion, tiny: Callable[[Value], Value] | None = None) -> Meaning:
    """Conversions to half as many bits, the rest of the destination cleared."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        source = read_source(cpu, fields, form)
        halves = exactly(cpu, lambda: [convert(part) for part in source], tiny)
        whole = halves[0].zext(128)
        if len(halves) > 1:
            whole = whole | halves[1].zext(128) << 64
        write_parts(cpu, fields["reg"], [whole], form)

    return meaning


def _two_widths(
    name: str, prefix: str, opcode: str, since: str, meaning: Meaning, widens: bool
) -> None:
    narrow, wide = ("V@ Wq", "Vqq Wdq") if widens else ("Vdq Wdq", "Vdq Wqq")
    encode_all(
        Encoding(name, prefix, f"0f {opcode} /r", narrow, third=False),
        meaning, sse=since, avx="avx", restartable=True,
    )  # fmt: skip
    encode_all(
        Encoding(name, prefix, f"0f {opcode} /r", wide, third=False),
        meaning, avx2="avx", restartable=True,
    )  # fmt: skip


_two_widths(
    "cvtps2pd", "np", "5a", "sse2", _wider(lambda half: fp.convert(half, 64, 32, first_nan=True)),
    widens=True,
)  # fmt: skip
_two_widths(
    "cvtdq2pd", "f3", "e6", "sse2", _wider(lambda half: fp.from_signed(half, 64, 32)), widens=True
)
_two_widths(
    "cvtpd2ps", "66", "5a", "sse2",
    _narrower(lambda part: fp.convert(part, 32, 64, first_nan=True), subnormal(SINGLE)),
    widens=False,
)  # fmt: skip
_two_widths(
    "cvtpd2dq", "f2", "e6", "sse2", _narrower(lambda part: fp.rounded_or_lowest(part, 32, 64)),
    widens=False,
)  # fmt: skip
_two_widths(
    "cvttpd2dq", "66", "e6", "sse2", _narrower(lambda part: fp.to_signed_or_lowest(part, 32, 64)),
    widens=False,
)  # fmt: skip


# -- lowest numbers


def _other_format(lane: int, to: int) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        (number,) = read_source(cpu, fields, form, lane)
        whole = cpu.xmm[form.first(fields)]
        tiny = subnormal(SINGLE) if to == 32 else None
        (result,) = exactly(cpu, lambda: [fp.convert(number, to, first_nan=True)], tiny)
        write_parts(cpu, fields["reg"], [merged(whole, result)], form)

    return meaning


scalar_forms("cvtss2sd", "f3", "0f 5a /r", "Vdq Wd", _other_format(32, 64), "sse2")
scalar_forms("cvtsd2ss", "f2", "0f 5a /r", "Vdq Wq", _other_format(64, 32), "sse2")


def _from_integer(to: int) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        integer = operand(cpu, "Ey", fields).read()
        whole = cpu.xmm[form.first(fields)]
        (result,) = exactly(cpu, lambda: [fp.from_signed(integer, to)])
        write_parts(cpu, fields["reg"], [merged(whole, result)], form)

    return meaning


def _to_integer(lane: int, convert: Callable[[Value, int], Value]) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        (number,) = read_source(cpu, fields, form, lane)
        to = operand(cpu, "Gy", fields)
        (result,) = exactly(cpu, lambda: [convert(number, to.width)])
        to.write(result)

    return meaning


for _suffix, _prefix, _lane, _code, _since in (
    ("ss", "f3", 32, "Wd", "sse"),
    ("sd", "f2", 64, "Wq", "sse2"),
):
    scalar_forms(f"cvtsi2{_suffix}", _prefix, "0f 2a /r", "Vdq Ey", _from_integer(_lane), _since)
    for _name, _opcode, _way in (
        (f"cvt{_suffix}2si", "2d", fp.rounded_or_lowest),
        (f"cvtt{_suffix}2si", "2c", fp.to_signed_or_lowest),
    ):
        scalar_forms(
            _name, _prefix, f"0f {_opcode} /r", f"Gy {_code}", _to_integer(_lane, _way), _since,
            third=False,
        )  # fmt: skip


# -- MMX registers


def _from_mmx(row: str, name: str, to: int, since: str) -> None:
    @describe(row, f"{name} {{:Vdq}}, {{:Qq}}", since, restartable=True)
    def convert(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu, numbers=True)
        in_memory = pinned_memory(fields)
        if in_memory:
            (pair,) = load_parts(cpu, fields, 64)
        else:
            MMX.ready(cpu)
            pair = read_mmx(cpu, fields["rm"])
        (result,) = exactly(cpu, lambda: [fp.from_signed(pair, to, 32)])
        whole = cpu.xmm[fields["reg"]]
        cpu.xmm[fields["reg"]] = merged(whole, result) if to == 32 else result
        if not in_memory:
            use_mmx(cpu)


def _to_mmx(
    row: str, name: str, lane: int, since: str, convert: Callable[[Value, int, int], Value]
) -> None:
    code = "Wq" if lane == 32 else "Wdq"

    @describe(row, f"{name} {{:Pq}}, {{:{code}}}", since, restartable=True)
    def into(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu, numbers=True)
        MMX.ready(cpu)
        (source,) = read_source(cpu, fields, LEGACY, 2 * lane)
        use_mmx(cpu)
        (result,) = exactly(cpu, lambda: [convert(source, 32, lane)])
        write_parts(cpu, fields["reg"], [result], MMX)


MMX = Form(64, vex=False)
_from_mmx("np 0f 2a /r", "cvtpi2ps", 32, "sse")
_from_mmx("66 0f 2a /r", "cvtpi2pd", 64, "sse2")
for _prefix, _suffix, _lane, _since in (("np", "ps", 32, "sse"), ("66", "pd", 64, "sse2")):
    _to_mmx(f"{_prefix} 0f 2c /r", f"cvtt{_suffix}2pi", _lane, _since, fp.to_signed_or_lowest)
    _to_mmx(f"{_prefix} 0f 2d /r", f"cvt{_suffix}2pi", _lane, _since, fp.rounded_or_lowest)
