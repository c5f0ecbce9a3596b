"""SSE4.1 (and AVX's forms of it): widening moves, tests, rounding, dot products, MPSADBW."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import fp
from ....ir.softfloat import DOUBLE, SINGLE, Format
from ....ir.value import Value, const
from ....ir.vector import choose, join, lanes, shuffle, splat, table
from ...floating import Numbers
from ...trace import Cpu, when
from ..numbers import exact, scalar_forms, subnormal
from ..packed import iota
from ..simd import (
    Encoding,
    Form,
    Meaning,
    encode_all,
    merged,
    read_parts,
    read_source,
    write_parts,
)
from ..vector_state import exactly
from .vector_shuffles import blended, with_immediate

# -- wider lanes

LETTERS = {16: "w", 32: "d", 64: "q", 128: "dq"}


def _widened(lane: int, to: int, signed: bool) -> Meaning:
    extend = "sext" if signed else "zext"

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        (source,) = read_source(cpu, fields, form, form.width * lane // to, aligned=False)
        size = 128 * lane // to
        parts = [
            lanes(extend, lane, source[size * n + size - 1 : size * n], to=to)
            for n in range(form.parts)
        ]
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


for _n, (_suffix, _lane, _to) in enumerate((
    ("bw", 8, 16), ("bd", 8, 32), ("bq", 8, 64), ("wd", 16, 32), ("wq", 16, 64), ("dq", 32, 64),
)):  # fmt: skip
    for _kind, _base in (("s", 0x20), ("z", 0x30)):
        _opcode, _meaning = f"0f38 {_base + _n:02x} /r", _widened(_lane, _to, _kind == "s")
        _sizes = [LETTERS[width * _lane // _to] for width in (128, 256)]
        encode_all(
            Encoding(f"pmov{_kind}x{_suffix}", "66", _opcode, f"V@ W{_sizes[0]}", third=False),
            _meaning, sse="sse4_1", avx="avx",
        )  # fmt: skip
        encode_all(
            Encoding(f"pmov{_kind}x{_suffix}", "66", _opcode, f"V@ W{_sizes[1]}", third=False),
            _meaning, avx2="avx2",
        )  # fmt: skip


# -- tests


def _tested(lane: int) -> Meaning:
    """ZF: no bit is in both operands; CF: none is in the second alone. Of VTESTPS and VTESTPD only
    signs count."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        b = read_source(cpu, fields, form)
        a = read_parts(cpu, fields["reg"], form)
        both, alone = const(0, 128), const(0, 128)
        for x, y in zip(a, b, strict=True):
            both, alone = both | x & y, alone | ~x & y
        if lane:
            signs = const(join([1 << lane - 1] * (128 // lane), lane), 128)
            both, alone = both & signs, alone & signs
        cpu.zf, cpu.cf = both == 0, alone == 0
        cpu.of = cpu.sf = cpu.af = cpu.pf = const(0, 1)

    return meaning


encode_all(
    Encoding("ptest", "66", "0f38 17 /r", third=False), _tested(0),
    sse="sse4_1", avx="avx", avx2="avx",
)  # fmt: skip
for _name, _opcode, _lane in (("testps", "0e", 32), ("testpd", "0f", 64)):
    encode_all(
        Encoding(_name, "66", f"0f38 {_opcode} /r", third=False, w="w0"), _tested(_lane),
        avx="avx", avx2="avx",
    )  # fmt: skip


# -- rounding

MODES = ("even", "down", "up", "zero")


def rounded(cpu: Cpu, imm: Value, value: Value, form: Format) -> Value:
    """An integral number in the mode of an immediate, or MXCSR's if its bit 2 says so; bit 3 keeps
    the inexact flag down."""
    lane = form.width
    result = cpu.local(const(0, value.width))
    quiet = imm[3] == 1
    with when(imm[2] == 1) as current:
        with when(quiet) as still:
            result.set(fp.rounded(value, "current", lane, first_nan=True))
            with still.otherwise():
                result.set(fp.round_to_integral(value, lane, first_nan=True))
        with current.otherwise():
            _in_mode(result.set, imm[1:0], value, lane, MODES)
            with when(~quiet):
                _note_inexact(cpu, value, result.value, form)
    return result.value


def _in_mode(
    put: Callable[[Value], None], number: Value, value: Value, lane: int, modes: tuple[str, ...]
) -> None:
    if len(modes) == 1:
        put(fp.rounded(value, modes[0], lane, first_nan=True))
        return
    with when(number == 0) as first:
        put(fp.rounded(value, modes[0], lane, first_nan=True))
        with first.otherwise():
            _in_mode(put, number - 1, value, lane, modes[1:])


def _note_inexact(cpu: Cpu, value: Value, result: Value, form: Format) -> None:
    numbers = Numbers(form, value.width)
    zero = lanes("eq", form.width, numbers.magnitudes(value), 0)
    differ = lanes("ne", form.width, value, result) & ~numbers.nans(value) & ~zero
    # What DAZ makes a zero is rounded exactly.
    tiny = numbers.below(value, form.smallest)
    daz = cpu.mxcsr_control[6].sext(value.width)
    with when((differ & ~(tiny & daz)) != 0):
        fp.raise_flags(fp.NX)


def _round_packed(form_of: Format) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        source = read_source(cpu, fields, form)
        parts = exactly(cpu, lambda: [rounded(cpu, fields["imm"], x, form_of) for x in source])
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


def _round_scalar(form_of: Format) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        (source,) = read_source(cpu, fields, form, form_of.width)
        whole = cpu.xmm[form.first(fields)]
        (result,) = exactly(cpu, lambda: [rounded(cpu, fields["imm"], source, form_of)])
        write_parts(cpu, fields["reg"], [merged(whole, result)], form)

    return meaning


for _suffix, _opcode, _format in (("ps", "08", SINGLE), ("pd", "09", DOUBLE)):
    encode_all(
        Encoding("round" + _suffix, "66", f"0f3a {_opcode} /r ib", "V@ W@ Ib", third=False),
        _round_packed(_format), sse="sse4_1", avx="avx", avx2="avx", restartable=True,
    )  # fmt: skip
for _suffix, _opcode, _format, _code in (("ss", "0a", SINGLE, "Wd"), ("sd", "0b", DOUBLE, "Wq")):
    scalar_forms(
        "round" + _suffix, "66", f"0f3a {_opcode} /r ib", f"Vdq {_code} Ib",
        _round_scalar(_format), "sse4_1",
    )  # fmt: skip


# -- dot products


def _dot(form_of: Format) -> Meaning:
    """Products of the lanes that the immediate's upper bits name, added by pairs, to the lanes that
    its lower bits name."""
    lane = form_of.width
    count = 128 // lane

    def product(a: Value, b: Value, imm: Value) -> Value:
        zero = const(0, 128)
        taken = blended(lane)(zero, const(-1, 128), imm.lsr(4))
        # What is not taken is multiplied all the same by the host, so not by what it is.
        terms = fp.mul(choose(taken, a, zero), choose(taken, b, zero), lane, first_nan=True)
        add = exact(fp.add)
        if count == 4:
            even, odd = ((n, n, n + 2, n + 2) for n in (0, 1))
            terms = add(shuffle(32, even, terms), shuffle(32, odd, terms), 32)
            total = add(terms, shuffle(32, (2, 3, 0, 1), terms), 32)
        else:
            total = add(terms, shuffle(64, (1, 0), terms), 64)
        return blended(lane)(zero, total, imm)

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        b = read_source(cpu, fields, form)
        a = read_parts(cpu, form.first(fields), form)
        pairs = list(zip(a, b, strict=True))
        parts = exactly(
            cpu, lambda: [product(x, y, fields["imm"]) for x, y in pairs], subnormal(form_of)
        )
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


encode_all(
    Encoding("dpps", "66", "0f3a 40 /r ib", "V@ W@ Ib"), _dot(SINGLE),
    sse="sse4_1", avx="avx", avx2="avx", restartable=True,
)  # fmt: skip
encode_all(
    Encoding("dppd", "66", "0f3a 41 /r ib", "V@ W@ Ib"), _dot(DOUBLE),
    sse="sse4_1", avx="avx", restartable=True,
)  # fmt: skip


# -- sums of absolute differences at eight places


def _mpsadbw(a: Value, b: Value, imm: Value) -> Value:
    moved = table(iota(imm[2].zext(8) << 2), a)
    start = imm[1:0].zext(8) << 2
    four = table(iota(start), b).trunc(32)
    total = const(0, 128)
    for n in range(4):
        eight = shuffle(8, range(n, n + 8), moved)
        one = splat(four[8 * n + 7 : 8 * n], 8)
        apart = lanes("sub", 8, lanes("umax", 8, eight, one), lanes("umin", 8, eight, one))
        total = lanes("add", 16, total, lanes("zext", 8, apart, to=16))
    return total


encode_all(
    Encoding("mpsadbw", "66", "0f3a 42 /r ib", "V@ W@ Ib"), with_immediate(_mpsadbw),
    sse="sse4_1", avx="avx",
)  # fmt: skip


def _mpsadbw_wide(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    """The upper halves have bits of the immediate of their own."""
    form.ready(cpu)
    b = read_source(cpu, fields, form)
    a = read_parts(cpu, form.first(fields), form)
    parts = [
        _mpsadbw(x, y, fields["imm"].lsr(3 * n)) for n, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    write_parts(cpu, fields["reg"], parts, form)


encode_all(Encoding("mpsadbw", "66", "0f3a 42 /r ib", "V@ W@ Ib"), _mpsadbw_wide, avx2="avx2")
