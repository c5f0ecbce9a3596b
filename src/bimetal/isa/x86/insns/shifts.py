"""Shifts and rotates (volume 2): ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD, SHRD.

Where the manual leaves a flag undefined, this is what Intel's processors do: OF is that of the
first step whatever the count is, and AF becomes 0.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu, when

from ..describing import insn
from ..fields import CX
from ..flags import Flags, flags_of, set_flags
from ..operands import Fields, Place, Register, operand

Outcome = tuple[Value, Flags]
Operation = Callable[[Cpu, Value, Value], Outcome]
"""From the operand and a count of 1 to 63 (5 bits but for 64-bit operands) to the result."""


def _steps(count: Value, width: int) -> Value:
    """A count as wide as an operand, cut to what a shift may be."""
    return count.zext(width) & (width - 1)


def _top(value: Value) -> Value:
    return value[value.width - 1]


def _next(value: Value) -> Value:
    return value[value.width - 2]


def _shl(cpu: Cpu, a: Value, count: Value) -> Outcome:
    width = a.width
    whole = a.zext(64) << count.zext(64) if width < 64 else a << count.zext(64)
    result = whole.trunc(width)
    out = whole[width] if width < 64 else a.lsr((const(64, 64) - count.zext(64)) & 63)[0]
    return result, flags_of(result, out, _top(a) ^ _next(a), 0)


def _shr(cpu: Cpu, a: Value, count: Value) -> Outcome:
    wide, steps = a.zext(64), count.zext(64)
    result = wide.lsr(steps).trunc(a.width)
    return result, flags_of(result, wide.lsr((steps - 1) & 63)[0], _top(a), 0)


def _sar(cpu: Cpu, a: Value, count: Value) -> Outcome:
    wide, steps = a.sext(64), count.zext(64)
    result = wide.asr(steps).trunc(a.width)
    return result, flags_of(result, wide.asr((steps - 1) & 63)[0], 0, 0)


def _rol(cpu: Cpu, a: Value, count: Value) -> Outcome:
    result = pure("rotl", a, _steps(count, a.width))
    return result, {"cf": result[0], "of": _top(a) ^ _next(a)}


def _ror(cpu: Cpu, a: Value, count: Value) -> Outcome:
    result = pure("rotr", a, _steps(count, a.width))
    return result, {"cf": _top(result), "of": _top(a) ^ a[0]}


def _through_carry(cpu: Cpu, a: Value, count: Value, left: bool) -> Outcome:
    """Rotate a number of one bit more, CF at its top. The count is less than 2 * width."""
    width = a.width
    room = 64 if width < 32 else 2 * width + 2
    size = width + 1
    steps = count.zext(8)
    for _ in range(3 if width == 8 else 1 if width < 32 else 0):
        steps = select(steps.ult(size), steps, steps - size)
    whole = a.zext(room) | cpu.cf.zext(room) << width
    none, steps = steps == 0, steps.zext(room)
    rest = const(size, room) - steps
    one, other = (steps, rest) if left else (rest, steps)
    turned = whole << one | whole.lsr(other)
    first = _top(a) ^ (_next(a) if left else cpu.cf)
    return turned.trunc(width), {"cf": turned[width], "of": select(none, cpu.of, first)}


def _rcl(cpu: Cpu, a: Value, count: Value) -> Outcome:
    return _through_carry(cpu, a, count, left=True)


def _rcr(cpu: Cpu, a: Value, count: Value) -> Outcome:
    return _through_carry(cpu, a, count, left=False)


OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("rol", _rol), ("ror", _ror), ("rcl", _rcl), ("rcr", _rcr),
    ("shl", _shl), ("shr", _shr), ("shl", _shl), ("sar", _sar),
)  # fmt: skip
"""In the order of their numbers."""


def _apply(cpu: Cpu, to: Place, count: Value, operation: Callable[[Value], Outcome]) -> None:
    """Assign the result, and flags unless the count is 0."""
    result, flags = operation(to.read())
    if count.known:
        if int(count):
            to.write(result)
            set_flags(cpu, flags)
        return
    # A register of 32 bits loses its upper half in any case, and memory is written.
    to.write(select(count == 0, to.read(), result))
    with when(count != 0):
        set_flags(cpu, flags)


def _masked(count: Value, width: int) -> Value:
    return count & (63 if width == 64 else 31)


def _form(number: int, row: str, code: str, how: str) -> None:
    name, operation = OPERATIONS[number]
    text = f"{name} {{:{code}}}, " + {"1": "1", "cl": "cl", "ib": "{:Ib}"}[how]

    @insn(f"{row} /{number}" + (" ib" if how == "ib" else ""), text)
    def shift(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, code, fields, writes=True)
        count = _masked(_count(cpu, fields, how), to.width)
        if number < 2 and how == "ib" and isinstance(to, Register):
            _apply(cpu, to, count, lambda a: _by_constant(cpu, operation(cpu, a, count), count))
        else:
            _apply(cpu, to, count, lambda a: operation(cpu, a, count))


def _by_constant(cpu: Cpu, outcome: Outcome, count: Value) -> Outcome:
    """A rotation of a register by an immediate leaves OF unless that is 1."""
    result, flags = outcome
    return result, {**flags, "of": select(count == 1, flags["of"], cpu.of)}


def _count(cpu: Cpu, fields: Fields, how: str) -> Value:
    if how == "1":
        return const(1, 8)
    if how == "ib":
        return fields["imm"].trunc(8)
    count: Value = cpu.r[CX].trunc(8)
    return count


for _number in range(8):
    for _row, _how in (("c0", "ib"), ("d0", "1"), ("d2", "cl")):
        _form(_number, _row, "Eb", _how)
        _form(_number, f"{int(_row, 16) | 1:02x}", "Ev", _how)


# -- double shifts


def _double(row: str, name: str, left: bool, how: str) -> None:
    @insn(row, f"{name} {{:Ev}}, {{:Gv}}, " + ("cl" if how == "cl" else "{:Ib}"))
    def shift(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, "Ev", fields, writes=True)
        b = operand(cpu, "Gv", fields).read()
        count = _masked(_count(cpu, fields, how), to.width)
        _apply(cpu, to, count, lambda a: (_shld if left else _shrd)(a, b, count))


def _joined(high: Value, middle: Value, low: Value) -> tuple[Value, int]:
    """Three numbers beside each other, of which the third counts for 16 bits alone: there a count
    may exceed the width, and processors go on with the first one again."""
    width = high.width
    if width == 16:
        return high.zext(64) << 32 | middle.zext(64) << 16 | low.zext(64), 48
    return high.zext(2 * width) << width | middle.zext(2 * width), 2 * width


def _shld(a: Value, b: Value, count: Value) -> Outcome:
    whole, size = _joined(a, b, a)
    steps = count.zext(whole.width)
    result = (whole << steps)[size - 1 : size - a.width]
    out = whole.lsr((const(size, whole.width) - steps) & (whole.width - 1))[0]
    out = select(count == 0, 0, out)
    return result, flags_of(result, out, _top(a) ^ _next(a), 0)


def _shrd(a: Value, b: Value, count: Value) -> Outcome:
    whole, _ = _joined(a, b, a) if a.width == 16 else _joined(b, a, a)
    steps = count.zext(whole.width)
    result = whole.lsr(steps).trunc(a.width)
    out = whole.lsr((steps - 1) & (whole.width - 1))[0]
    return result, flags_of(result, out, _top(a) ^ b[0], 0)


for _left, _name, _low in ((True, "shld", 0xA4), (False, "shrd", 0xAC)):
    _double(f"0f {_low:02x} /r ib", _name, _left, "ib")
    _double(f"0f {_low + 1:02x} /r", _name, _left, "cl")
