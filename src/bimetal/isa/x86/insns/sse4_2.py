"""SSE4.2: comparisons of strings (volume 2, 4.1)."""

from __future__ import annotations

from ....ir.value import Value, const, pure, select
from ....ir.vector import join, lanes, splat
from ...trace import Cpu, when
from ..fields import AX, CX, DX
from ..numbers import LEGACY, VEX
from ..operands import Fields
from ..simd import Form, describe, no_vvvv, read_source, write_parts


def _explicit(cpu: Cpu, number: int, wide: Value, count: int) -> Value:
    """A length in a general register: its magnitude, but ``count`` at most."""
    whole = cpu.r[number]
    narrow = whole.trunc(32).sext(64)
    value = select(wide, whole, narrow)
    size = select(value.slt(0), const(0, 64) - value, value)
    return select(size.ult(count), size, count).trunc(8)


def _implicit(value: Value, lane: int) -> Value:
    """How many lanes there are before the first zero."""
    zeros = signs(lanes("eq", lane, value, 0), lane).zext(32) | 1 << 128 // lane
    return pure("ctz", zeros).trunc(8)


def signs(mask: Value, lane: int) -> Value:
    """A bit for each lane of ones."""
    count = mask.width // lane
    total = const(0, count)
    for n in range(count):
        total = total | mask[lane * n].zext(count) << n
    return total


def _valid(length: Value, count: int) -> Value:
    """A bit for each lane before a length."""
    return ((const(1, 32) << length.zext(32)) - 1).trunc(count)


def _ahead(length: Value, lane: int) -> Value:
    """Ones in the lanes before a length."""
    count = 128 // lane
    numbers = const(join(range(count), lane), 128)
    return lanes("ult", lane, numbers, splat(length.zext(lane), count))


def _everywhere(b: Value, n: int, lane: int) -> Value:
    """Lane ``n`` of a vector in all lanes."""
    return splat(b[lane * n + lane - 1 : lane * n], 128 // lane)


def _any(a: Value, b: Value, in_a: Value, in_b: Value, lane: int, signed: Value) -> Value:
    """Lanes of b that are among those of a."""
    count, result = 128 // lane, const(0, 128 // lane)
    for n in range(count):
        same = lanes("eq", lane, _everywhere(b, n, lane), a) & in_a
        result = result | (same != 0).zext(count) << n
    return result & signs(in_b, lane)


def _ranges(a: Value, b: Value, in_a: Value, in_b: Value, lane: int, signed: Value) -> Value:
    """Lanes of b that are in one of the ranges of which a has the ends, in pairs."""
    count, result = 128 // lane, const(0, 128 // lane)
    # Signed numbers are in order once their signs are turned.
    turn = select(signed, const(join([1 << lane - 1] * count, lane), 128), const(0, 128))
    a, b = a ^ turn, b ^ turn
    first = const(join([-1, 0] * (count // 2), lane), 128)
    for n in range(count):
        one = _everywhere(b, n, lane)
        at_least = lanes("ule", lane, a, one) & in_a & first
        at_most = (lanes("ule", lane, one, a) & in_a).lsr(lane)
        result = result | ((at_least & at_most) != 0).zext(count) << n
    return result & signs(in_b, lane)


def _each(a: Value, b: Value, in_a: Value, in_b: Value, lane: int, signed: Value) -> Value:
    """Lanes that are equal; those behind both ends are."""
    return signs((lanes("eq", lane, a, b) & in_a & in_b) | ~(in_a | in_b), lane)


def _ordered(a: Value, b: Value, in_a: Value, in_b: Value, lane: int, signed: Value) -> Value:
    """Where a is found in b: its end may be beyond b's last lane."""
    count, result = 128 // lane, const(0, 128 // lane)
    for n in range(count):
        beyond = const((1 << 128) - (1 << 128 - lane * n), 128)
        same = lanes("eq", lane, a, b.lsr(lane * n)) & in_b.lsr(lane * n)
        found = (same | ~in_a | beyond) == (1 << 128) - 1
        result = result | found.zext(count) << n
    return result


def _compared(
    cpu: Cpu, imm: Value, a: Value, b: Value, lane: int, lengths: tuple[Value, Value]
) -> Value:
    """The bits of the comparison that an immediate names, after its polarity (IntRes2)."""
    count = 128 // lane
    in_a, in_b = (_ahead(length, lane) for length in lengths)
    result = cpu.local(const(0, count))
    ways = (_any, _ranges, _each, _ordered)
    for number, way in enumerate(ways):
        with when(imm[3:2] == number):
            result.set(way(a, b, in_a, in_b, lane, imm[1] == 1))
    turned = select(imm[5] == 1, _valid(lengths[1], count), const(-1, count))
    return select(imm[4] == 1, result.value ^ turned, result.value)


def _text(cpu: Cpu, form: Form, fields: Fields, explicit: bool, lane: int, mask: bool) -> None:
    (b,) = read_source(cpu, fields, form, aligned=False)
    a, imm, count = cpu.xmm[fields["reg"]], fields["imm"], 128 // lane
    if explicit:
        wide = fields["wide"] == 1
        lengths = (_explicit(cpu, AX, wide, count), _explicit(cpu, DX, wide, count))
    else:
        lengths = (_implicit(a, lane), _implicit(b, lane))
    bits = _compared(cpu, imm, a, b, lane, lengths)
    if mask:
        whole = const(0, 128)
        for n in range(count):
            whole = whole | bits[n].sext(lane).zext(128) << lane * n
        write_parts(cpu, const(0, 4), [select(imm[6] == 1, whole, bits.zext(128))], form)
    else:
        wide_bits = bits.zext(32)
        first = pure("ctz", wide_bits | 1 << count)
        last = const(31, 32) - pure("clz", wide_bits | 1)
        last = select(bits == 0, const(count, 32), last)
        cpu.r[CX] = select(imm[6] == 1, last, first).zext(64)
    cpu.cf, cpu.of = bits != 0, bits[0]
    cpu.sf, cpu.zf = lengths[0].ult(count), lengths[1].ult(count)
    cpu.af = cpu.pf = const(0, 1)


def _comparison(name: str, opcode: str, explicit: bool, mask: bool) -> None:
    for start, v, form, extension in (
        ("66 0f3a", "", LEGACY, "sse4_2"),
        ("vex.128.66.0f3a", "v", VEX, "avx"),
    ):

        @describe(
            f"{start} {opcode} /r ib", f"{v}{name} {{:Vdq}}, {{:Wdq}}, {{:Ib}}", extension,
            where=no_vvvv if v else None,
        )  # fmt: skip
        def compare(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            with when(fields["imm"][0] == 0) as of_bytes:
                _text(cpu, form, fields, explicit, 8, mask)
                with of_bytes.otherwise():
                    _text(cpu, form, fields, explicit, 16, mask)


_comparison("pcmpestrm", "60", explicit=True, mask=True)
_comparison("pcmpestri", "61", explicit=True, mask=False)
_comparison("pcmpistrm", "62", explicit=False, mask=True)
_comparison("pcmpistri", "63", explicit=False, mask=False)
