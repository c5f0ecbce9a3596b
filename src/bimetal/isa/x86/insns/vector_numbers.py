"""Arithmetic of numbers of SSE, SSE2, SSE3 and AVX: operations, comparisons, logic, shuffles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import fp
from ....ir.value import Value, const
from ....ir.vector import join, shuffle
from ...floating import Numbers
from ...trace import Cpu
from ..numbers import (
    ARITHMETIC,
    FORMATS,
    Binary,
    Kind,
    compared,
    exact,
    joined_pairs,
    packed_numbers,
    root,
    scalar_forms,
    scalar_numbers,
)
from ..simd import (
    Encoding,
    Form,
    Meaning,
    encode_all,
    in_parts,
    read_source,
)
from ..vector_state import exactly

# -- arithmetic

for _kind in FORMATS:
    for _name, _opcode, _operation, _tiny in (*ARITHMETIC, ("sqrt", "51", root, False)):
        _suffix, _prefix = _kind.packed
        encode_all(
            Encoding(_name + _suffix, _prefix, f"0f {_opcode} /r", third=_name != "sqrt"),
            packed_numbers(_operation, _kind.form, _tiny, _name in ("min", "max")),
            sse=_kind.since, avx="avx", avx2="avx", restartable=True,
        )  # fmt: skip
        _suffix, _prefix = _kind.scalar
        scalar_forms(
            _name + _suffix, _prefix, f"0f {_opcode} /r", f"Vdq W{_kind.letter}",
            scalar_numbers(_operation, _kind.form, _tiny, _name in ("min", "max")), _kind.since,
        )  # fmt: skip


def _alternating(kind: Kind) -> Binary:
    """ADDSUB: even lanes subtracted, odd ones added. Where the second operand is a NaN it keeps its
    sign, as when it is subtracted."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        numbers, sign = Numbers(kind.form, a.width), kind.form.sign
        even = const(join([sign, 0] * (numbers.count // 2), lane), a.width)
        return exact(fp.add)(a, b ^ (even & ~numbers.nans(b)), lane)

    return meaning


for _kind, _prefix in zip(FORMATS, ("f2", "66"), strict=True):
    for _name, _opcode, _operation in (
        ("hadd", "7c", joined_pairs(exact(fp.add))),
        ("hsub", "7d", joined_pairs(exact(fp.sub))),
        ("addsub", "d0", _alternating(_kind)),
    ):
        encode_all(
            Encoding(_name + _kind.packed[0], _prefix, f"0f {_opcode} /r"),
            packed_numbers(_operation, _kind.form, True),
            sse="sse3", avx="avx", avx2="avx", restartable=True,
        )  # fmt: skip


# -- comparisons


def _compare_packed(kind: Kind) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        packed_numbers(
            lambda a, b, lane: compared(cpu, fields["imm"], a, b, lane, form.vex), kind.form
        )(cpu, form, fields)

    return meaning


def _compare_scalar(kind: Kind) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        scalar_numbers(
            lambda a, b, lane: compared(cpu, fields["imm"], a, b, lane, form.vex), kind.form
        )(cpu, form, fields)

    return meaning


def _ordering(kind: Kind, signals: bool) -> Meaning:
    """COMI and UCOMI: ZF, PF and CF say equal, unordered, less; all of them that it is
    unordered."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        (b,) = read_source(cpu, fields, form, kind.lane)
        a = cpu.xmm[fields["reg"]].trunc(kind.lane)
        compare = fp.less_equal if signals else fp.less_equal_quiet

        def flags() -> list[Value]:
            return [fp.equal_or_unordered(a, b), fp.unordered(a, b), ~compare(b, a)]

        cpu.zf, cpu.pf, cpu.cf = exactly(cpu, flags)
        cpu.of = cpu.sf = cpu.af = const(0, 1)

    return meaning


for _kind in FORMATS:
    _suffix, _prefix = _kind.packed
    encode_all(
        Encoding("cmp" + _suffix, _prefix, "0f c2 /r ib", "V@ W@ Ib"),
        _compare_packed(_kind),
        sse=_kind.since, avx="avx", avx2="avx", restartable=True,
    )  # fmt: skip
    scalar_forms(
        "cmp" + _kind.scalar[0], _kind.scalar[1], "0f c2 /r ib", f"Vdq W{_kind.letter} Ib",
        _compare_scalar(_kind), _kind.since,
    )  # fmt: skip
    for _name, _opcode, _signals in (("ucomi", "2e", False), ("comi", "2f", True)):
        scalar_forms(
            _name + _kind.scalar[0], _prefix, f"0f {_opcode} /r", f"Vdq W{_kind.letter}",
            _ordering(_kind, _signals), _kind.since, third=False,
        )  # fmt: skip


# -- logic and shuffles, which look at no number


def _unpacked(lane: int, high: bool) -> Callable[[Value, Value], Value]:
    count = 128 // lane
    first = count // 2 if high else 0
    order = [n + count * which for n in range(first, first + count // 2) for which in (0, 1)]
    return lambda a, b: shuffle(lane, order, a, b)


for _kind in FORMATS:
    _suffix, _prefix = _kind.packed
    for _name, _opcode, _logic in (
        ("and", "54", lambda a, b: a & b),
        ("andn", "55", lambda a, b: ~a & b),
        ("or", "56", lambda a, b: a | b),
        ("xor", "57", lambda a, b: a ^ b),
        ("unpckl", "14", _unpacked(_kind.lane, False)),
        ("unpckh", "15", _unpacked(_kind.lane, True)),
    ):
        encode_all(
            Encoding(_name + _suffix, _prefix, f"0f {_opcode} /r"),
            in_parts(_logic), sse=_kind.since, avx="avx", avx2="avx",
        )  # fmt: skip
