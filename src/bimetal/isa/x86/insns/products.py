"""Multiplication and division (volume 2): MUL, IMUL, DIV, IDIV.

Undefined flags are those of Intel's processors: SF and PF follow from the low half of a product, ZF
and AF become 0; a division leaves all flags.
"""

from __future__ import annotations

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu, slowly

from ..describing import insn
from ..fields import AX, DX
from ..flags import flags_of, set_flags
from ..operands import Immediate, Register, Source, operand
from ..state import x86
from ..traps import divide_error


def _flags(cpu: Cpu, low: Value, lost: Value) -> None:
    set_flags(cpu, {**flags_of(low, lost, lost, 0), "zf": const(0, 1)})


def _product(a: Value, b: Value, signed: bool) -> tuple[Value, Value]:
    """A product of twice the width, and whether its low half is not all of it."""
    width = a.width
    extended = [v.sext(2 * width) if signed else v.zext(2 * width) for v in (a, b)]
    whole = extended[0] * extended[1]
    low = whole.trunc(width)
    again = low.sext(2 * width) if signed else low.zext(2 * width)
    return whole, whole != again


def _multiply(row: str, name: str, code: str, signed: bool) -> None:
    @insn(row, f"{name} {{:{code}}}")
    def multiply(cpu: Cpu, **fields: Value) -> None:
        source = operand(cpu, code, fields)
        b, width = source.read(), source.width
        to = Register(cpu, const(AX, 4), max(width, 16) if width == 8 else width)
        whole, lost = _product(to.read().trunc(width), b, signed)
        if width == 8:
            to.write(whole)
        else:
            high = Register(cpu, const(DX, 4), width)
            old = high.whole
            to.write(whole.trunc(width))
            cpu.r[DX] = high.merged(old, whole[2 * width - 1 : width])
        _flags(cpu, whole.trunc(width), lost)


_multiply("f6 /4", "mul", "Eb", False)
_multiply("f7 /4", "mul", "Ev", False)
_multiply("f6 /5", "imul", "Eb", True)
_multiply("f7 /5", "imul", "Ev", True)


def _multiply_two(row: str, text: str, immediate: bool) -> None:
    @insn(row, text)
    def multiply(cpu: Cpu, **fields: Value) -> None:
        to, b = operand(cpu, "Gv", fields), operand(cpu, "Ev", fields)
        a: Source = Immediate(fields, to.width) if immediate else to
        whole, lost = _product(a.read(), b.read(), signed=True)
        to.write(whole.trunc(to.width))
        _flags(cpu, whole.trunc(to.width), lost)


_multiply_two("0f af /r", "imul {:Gv}, {:Ev}", False)
_multiply_two("69|6b /r", "imul {:Gv}, {:Ev}, {:Iz}", True)


def _divide(row: str, name: str, code: str, signed: bool) -> None:
    @insn(row, f"{name} {{:{code}}}")
    def divide(cpu: Cpu, **fields: Value) -> None:
        """#DE if the divisor is 0 or the quotient does not fit."""
        source = operand(cpu, code, fields)
        divisor, width = source.read(), source.width
        with slowly(divisor == 0):
            divide_error(cpu)
        whole, over = (Register(cpu, const(n, 4), max(width, 16)) for n in (AX, DX))
        if width == 8:
            high, low = whole.read()[15:8], whole.read()[7:0]
        else:
            high, low = over.read(), whole.read()
        quotient, rest = (_signed if signed else _unsigned)(cpu, high, low, divisor)
        if width == 8:
            whole.write(quotient.zext(16) | rest.zext(16) << 8)
            return
        old = over.whole
        whole.write(quotient)
        cpu.r[DX] = over.merged(old, rest)


def _unsigned(cpu: Cpu, high: Value, low: Value, divisor: Value) -> tuple[Value, Value]:
    """Quotient and remainder; #DE if the quotient has more bits."""
    with slowly(high.uge(divisor)):
        divide_error(cpu)
    return _divided(cpu, high, low, divisor)


def _divided(cpu: Cpu, high: Value, low: Value, divisor: Value) -> tuple[Value, Value]:
    """Quotient and remainder of a number whose high half is less than the divisor."""
    width = divisor.width
    # Nothing is divided by 0, which LLVM does not define: that was a fault.
    by = select(divisor == 0, const(1, width), divisor)
    if width < 64:
        both = high.zext(64) << width | low.zext(64)
        quotient = pure("udiv", both, by.zext(64)).trunc(width)
    else:
        found = cpu.local(pure("udiv", low, by))
        with slowly(high != 0):
            found.set(long_quotient(cpu, high, low, by))
        quotient = found.value
    return quotient, low - quotient * divisor


def _signed(cpu: Cpu, high: Value, low: Value, divisor: Value) -> tuple[Value, Value]:
    """By magnitudes: the lowest number by -1 has no quotient that LLVM defines."""
    width = divisor.width
    negative, minus = high[width - 1], divisor[width - 1]
    size_low = select(negative, -low, low)
    size_high = select(negative, ~high + (low == 0).zext(width), high)
    by = select(minus, -divisor, divisor)
    with slowly(size_high.uge(by)):
        divide_error(cpu)
    size, rest = _divided(cpu, size_high, size_low, by)
    unlike = negative ^ minus
    limit = const((1 << (width - 1)) - 1, width) + unlike.zext(width)
    with slowly(limit.ult(size)):
        divide_error(cpu)
    return select(unlike, -size, size), select(negative, -rest, rest)


LOW = (1 << 32) - 1


@x86.routine(returns=64, high=64, low=64, divisor=64)
def long_quotient(cpu: Cpu, high: Value, low: Value, divisor: Value) -> Value:
    """A number of 128 bits by one of 64, which is greater than its high half.

    Source: Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D, by 32-bit digits.
    """
    up = pure("clz", divisor) & 63
    v = divisor << up
    u = (high << up) | select(up == 0, 0, low.lsr((const(64, 64) - up) & 63))
    rest = low << up
    first, left = _digit(u, rest.lsr(32), v)
    second, _ = _digit(left, rest & LOW, v)
    return first << 32 | second


def _digit(u: Value, following: Value, v: Value) -> tuple[Value, Value]:
    """The next digit of a quotient, and what is left."""
    top, bottom = v.lsr(32), v & LOW
    by = select(top == 0, 1, top)
    digit = pure("udiv", u, by)
    rest = u - digit * by
    for _ in range(2):
        too_much = (digit.lsr(32) != 0) | (rest << 32 | following).ult(digit * bottom)
        less = (rest.lsr(32) == 0) & too_much
        digit, rest = select(less, digit - 1, digit), select(less, rest + by, rest)
    return digit, (u << 32 | following) - digit * v


_divide("f6 /6", "div", "Eb", False)
_divide("f7 /6", "div", "Ev", False)
_divide("f6 /7", "idiv", "Eb", True)
_divide("f7 /7", "idiv", "Ev", True)
