"""FMA: a * b + c with one rounding, in three orders of operands."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir import fp
from ....ir.value import Value, const
from ....ir.vector import join
from ...floating import Numbers
from ...trace import Cpu
from ..numbers import FORMATS, VEX, Kind, subnormal
from ..simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    encode_all,
    merged,
    read_parts,
    read_source,
    write_parts,
)
from ..vector_state import exactly

ORDERS = {"132": (0, 2, 1), "213": (1, 0, 2), "231": (1, 2, 0)}
"""Which of the three operands are multiplied, and which is added."""

Signs = tuple[bool, int, int]
"""Whether the product is negated; whether the addend is, in even lanes and in odd ones."""

FORMS: tuple[tuple[str, int, Signs, bool], ...] = (
    ("fmaddsub", 0x6, (False, 1, 0), False),
    ("fmsubadd", 0x7, (False, 0, 1), False),
    ("fmadd", 0x8, (False, 0, 0), True),
    ("fmsub", 0xA, (False, 1, 1), True),
    ("fnmadd", 0xC, (True, 0, 0), True),
    ("fnmsub", 0xE, (True, 1, 1), True),
)
"""Name, the low half of packed opcodes, signs, and whether there is a scalar form behind it."""


def _fused(kind: Kind, signs: Signs, order: str, operands: list[Value]) -> Value:
    """The result. A NaN keeps its sign, though what it belongs to is negated."""
    a, b, c = (operands[n] for n in ORDERS[order])
    lane = kind.lane
    numbers = Numbers(kind.form, a.width)
    sign, count = kind.form.sign, numbers.count
    negate, even, odd = signs
    if negate:
        a = a ^ (numbers.each(sign) & ~numbers.nans(a))
    if even or odd:
        pattern = [sign * even if n % 2 == 0 else sign * odd for n in range(count)]
        c = c ^ (const(join(pattern, lane), c.width) & ~numbers.nans(c))
    return fp.mul_add(a, b, c, lane, first_nan=True)


def _packed(kind: Kind, signs: Signs, order: str) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        third = read_source(cpu, fields, form)
        first = read_parts(cpu, fields["reg"], form)
        second = read_parts(cpu, fields["vvvv"], form)
        rows = [list(row) for row in zip(first, second, third, strict=True)]
        results = exactly(
            cpu, lambda: [_fused(kind, signs, order, row) for row in rows], subnormal(kind.form)
        )
        write_parts(cpu, fields["reg"], results, form)

    return meaning


def _scalar(name: str, row: str, kind: Kind, signs: Signs, order: str) -> None:
    @describe(row, f"{name} {{:Vdq}}, {{:Hdq}}, {{:W{kind.letter}}}", "fma", restartable=True)
    def instruction(cpu: Cpu, **fields: Value) -> None:
        VEX.ready(cpu, numbers=True)
        (third,) = read_source(cpu, fields, VEX, kind.lane)
        whole = cpu.xmm[fields["reg"]]
        row = [whole.trunc(kind.lane), cpu.xmm[fields["vvvv"]].trunc(kind.lane), third]
        (result,) = exactly(cpu, lambda: [_fused(kind, signs, order, row)], subnormal(kind.form))
        write_parts(cpu, fields["reg"], [merged(whole, result)], VEX)


for _kind, _w in zip(FORMATS, ("w0", "w1"), strict=True):
    for _base, _order in ((0x90, "132"), (0xA0, "213"), (0xB0, "231")):
        for _name, _low, _signs, _has_scalar in FORMS:
            encode_all(
                Encoding(
                    f"{_name}{_order}{_kind.packed[0]}", "66", f"0f38 {_base | _low:02x} /r", w=_w
                ),
                _packed(_kind, _signs, _order), avx="fma", avx2="fma", restartable=True,
            )  # fmt: skip
            if _has_scalar:
                _scalar(
                    f"v{_name}{_order}{_kind.scalar[0]}",
                    f"vex.lig.66.0f38.{_w} {_base | _low + 1:02x} /r", _kind, _signs, _order,
                )  # fmt: skip
