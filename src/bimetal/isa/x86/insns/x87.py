"""The x87: arithmetic, comparisons and functions (volume 1, 8.3)."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.extended import extended
from ....ir.value import Value, const, select
from ...trace import Cpu, when
from ..simd import describe
from ..x87_stack import (
    DE,
    IE,
    INDEFINITE,
    SF,
    ZE,
    Operation,
    control_of,
    math_operand,
    math_ready,
    note,
    push_status,
    withheld,
)
from ..x87_state import C0, C1, C2, C3, in_use, place, read_register

CONDITIONS = C0 | C1 | C2 | C3


def number(fields: Mapping[str, Value]) -> Value:
    """The i of ST(i), three bits."""
    i: Value = fields["rm"][2:0]
    return i


# -- arithmetic

ARITHMETIC = (
    ("add", False, 0), ("mul", False, 1), ("sub", False, 4), ("sub", True, 5),
    ("div", False, 6), ("div", True, 7),
)  # fmt: skip
"""Operation, whether its operands are exchanged, and the middle of ModRM."""


def _from_memory(cpu: Cpu, fields: Mapping[str, Value], kind: str) -> tuple[Value, Value, Value]:
    """An operand in memory, as 80 bits, what converting it raises, and its offset."""
    width = int(kind[-2:])
    address, offset = math_operand(cpu, fields, width // 8)
    value = cpu.load(address, width)
    if kind[0] == "i":
        return *extended("from_i64", control_of(cpu), value.sext(64)), offset
    return *extended(f"from_{width}", control_of(cpu), value), offset


def _joined(cpu: Cpu, loaded: Value, status: Value, other: Value) -> Value:
    """What loading and computing raise together: a subnormal operand says nothing beside what is
    invalid, NaNs and a division by zero."""
    is_nan = (other[78:64] == 0x7FFF) & (other[62:0] != 0)
    quiet = is_nan | ((status & (IE | ZE)) != 0)
    both: Value = status | select(quiet, loaded & ~DE, loaded)
    return both


def _with_memory(row: str, name: str, operation: str, swapped: bool, kind: str, code: str) -> None:
    @describe(row, f"{name} {{:{code}}}", "fpu")
    def arithmetic(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        b, loaded, operand = _from_memory(cpu, fields, kind)
        op = Operation(cpu, 0)
        (a,) = op.values
        result, status = extended(operation, control_of(cpu), *((b, a) if swapped else (a, b)))
        status = _joined(cpu, loaded, status, a)
        op.put(0, *op.checked(result, status), operand=operand)


def _with_register(
    row: str, text: str, operation: str, swapped: bool, to_top: bool, pops: int
) -> None:
    @describe(row, text, "fpu")
    def arithmetic(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        i = number(fields)
        op = Operation(cpu, 0, i)
        top, other = op.values
        a, b = (top, other) if to_top else (other, top)
        result, status = op.compute(operation, *((b, a) if swapped else (a, b)))
        op.put(0 if to_top else i, result, status, pops=pops)


for _operation, _swapped, _middle in ARITHMETIC:
    _name = _operation + "r" * _swapped
    _with_memory(f"d8 /{_middle} mem", f"f{_name}", _operation, _swapped, "f32", "Md")
    _with_memory(f"dc /{_middle} mem", f"f{_name}", _operation, _swapped, "f64", "Mq")
    _with_memory(f"de /{_middle} mem", f"fi{_name}", _operation, _swapped, "i16", "Mw")
    _with_memory(f"da /{_middle} mem", f"fi{_name}", _operation, _swapped, "i32", "Md")
    _with_register(f"d8 /{_middle} reg", f"f{_name} st, {{:STi}}", _operation, _swapped, True, 0)
    # To ST(i) the numbers of the two orders are exchanged.
    _other = _middle ^ (_middle > 1)
    _with_register(f"dc /{_other} reg", f"f{_name} {{:STi}}, st", _operation, _swapped, False, 0)
    _with_register(f"de /{_other} reg", f"f{_name}p {{:STi}}, st", _operation, _swapped, False, 1)


# -- comparisons


def _compared(cpu: Cpu, name: str, a: Value, b: Value, empty: Value) -> Value:
    """The status of a comparison."""
    _, status = extended(name, control_of(cpu), a, b)
    return select(empty, const(IE | SF | C0 | C2 | C3, 16), status)


def _finish(cpu: Cpu, status: Value, pops: int, operand: Value | None = None) -> None:
    """Set the condition codes, and pop."""
    popped = const(0, 8)
    for n in range(pops):
        popped = popped | const(1, 8) << place(cpu, n).zext(8)

    def write() -> None:
        cpu.ftw = cpu.ftw & ~popped

    with when(withheld(cpu, status)) as wrong:
        note(cpu, status, CONDITIONS, operand=operand)
        with wrong.otherwise():
            note(cpu, status, CONDITIONS, pops, write, operand)


def _compare_memory(row: str, name: str, kind: str, code: str, pops: int) -> None:
    @describe(row, f"{name} {{:{code}}}", "fpu")
    def compare(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        b, loaded, operand = _from_memory(cpu, fields, kind)
        op = Operation(cpu, 0)
        status = _compared(cpu, "com", op.values[0], b, op.empty)
        status = select(op.empty, status, _joined(cpu, loaded, status, op.values[0]))
        _finish(cpu, status, pops, operand)


for _middle, _name, _pops in ((2, "com", 0), (3, "comp", 1)):
    _compare_memory(f"d8 /{_middle} mem", f"f{_name}", "f32", "Md", _pops)
    _compare_memory(f"dc /{_middle} mem", f"f{_name}", "f64", "Mq", _pops)
    _compare_memory(f"de /{_middle} mem", f"fi{_name}", "i16", "Mw", _pops)
    _compare_memory(f"da /{_middle} mem", f"fi{_name}", "i32", "Md", _pops)


def _compare_register(row: str, text: str, quiet: bool, pops: int) -> None:
    @describe(row, text, "fpu")
    def compare(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0, number(fields) if pops < 2 else 1)
        a, b = op.values
        _finish(cpu, _compared(cpu, "ucom" if quiet else "com", a, b, op.empty), pops)


_compare_register("d8 /2 reg", "fcom {:STi}", False, 0)
_compare_register("d8 /3 reg", "fcomp {:STi}", False, 1)
_compare_register("de d9", "fcompp", False, 2)
_compare_register("dd /4 reg", "fucom {:STi}", True, 0)
_compare_register("dd /5 reg", "fucomp {:STi}", True, 1)
_compare_register("da e9", "fucompp", True, 2)


def _compare_flags(row: str, text: str, quiet: bool, pops: int) -> None:
    @describe(row, text, "cmov")
    def compare(cpu: Cpu, **fields: Value) -> None:
        """ZF, PF and CF, as C3, C2 and C0."""
        math_ready(cpu)
        op = Operation(cpu, 0, number(fields))
        a, b = op.values
        status = _compared(cpu, "ucom" if quiet else "com", a, b, op.empty)
        flags = [(status & bit) != 0 for bit in (C3, C2, C0)]
        kept = status & ~CONDITIONS
        popped = const(1, 8) << place(cpu, 0).zext(8)
        said = select(op.empty, const(C1, 16), 0)

        def write() -> None:
            if pops:
                cpu.ftw = cpu.ftw & ~popped

        with when(withheld(cpu, status)) as wrong:
            note(cpu, kept, said)
            with wrong.otherwise():
                note(cpu, kept, said, pops, write)
        cpu.zf, cpu.pf, cpu.cf = flags
        cpu.of = cpu.sf = cpu.af = const(0, 1)


_compare_flags("db /5 reg", "fucomi st, {:STi}", True, 0)
_compare_flags("db /6 reg", "fcomi st, {:STi}", False, 0)
_compare_flags("df /5 reg", "fucomip st, {:STi}", True, 1)
_compare_flags("df /6 reg", "fcomip st, {:STi}", False, 1)


@describe("d9 e4", "ftst", "fpu")
def ftst(cpu: Cpu, **_: Value) -> None:
    math_ready(cpu)
    op = Operation(cpu, 0)
    _finish(cpu, _compared(cpu, "com", op.values[0], const(0, 80), op.empty), 0)


@describe("d9 e5", "fxam", "fpu")
def fxam(cpu: Cpu, **_: Value) -> None:
    """The class of ST(0): C3, C2 and C0; C1 is its sign."""
    math_ready(cpu)
    value = read_register(cpu, 0)
    biased, whole = value[78:64], value[63] == 1
    mantissa = value.trunc(64)
    special = select((mantissa.lsr(63) << 63) == mantissa, const(C2 | C0, 16), C0)
    special = select(whole, special, 0)
    small = select(mantissa == 0, const(C3, 16), C3 | C2)
    usual = select(whole, const(C2, 16), 0)
    found = select(biased == 0x7FFF, special, select(biased == 0, small, usual))
    found = select(in_use(cpu, 0), found, C3 | C0)
    note(cpu, found | select(value[79] == 1, const(C1, 16), 0), CONDITIONS)


# -- functions


def _unary(row: str, name: str, operation: str, said: int = C1) -> None:
    @describe(row, name, "fpu")
    def function(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0)
        op.put(0, *op.compute(operation, op.values[0]), said)


_unary("d9 fa", "fsqrt", "sqrt")
_unary("d9 fc", "frndint", "rndint")
_unary("d9 fe", "fsin", "sin", C1 | C2)
_unary("d9 ff", "fcos", "cos", C1 | C2)
_unary("d9 f0", "f2xm1", "2xm1")


def _binary(row: str, name: str, operation: str, said: int = C1) -> None:
    """Of ST(0) and ST(1), to ST(0)."""

    @describe(row, name, "fpu")
    def function(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0, 1)
        result, status = op.compute(operation, *op.values)
        if said == CONDITIONS:
            # Without a quotient two of its bits stay as they were.
            none = (result[78:64] == 0x7FFF) & (result[62:0] != 0)
            status = status | select(none, cpu.fsw & (C0 | C3), 0)
        op.put(0, result, status, said)


_binary("d9 f8", "fprem", "prem", CONDITIONS)
_binary("d9 f5", "fprem1", "prem1", CONDITIONS)
_binary("d9 fd", "fscale", "scale")


def _popping(row: str, name: str, operation: str) -> None:
    """Of ST(1) and ST(0), to ST(1), which becomes the top."""

    @describe(row, name, "fpu")
    def function(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 1, 0)
        op.put(1, *op.compute(operation, *op.values), pops=1)


_popping("d9 f3", "fpatan", "patan")
_popping("d9 f1", "fyl2x", "yl2x")
_popping("d9 f9", "fyl2xp1", "yl2xp1")


def _two_results(row: str, name: str, below: str, above: str | int, said: int) -> None:
    """One result replaces ST(0), another one is pushed."""

    @describe(row, name, "fpu")
    def function(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0)
        (value,) = op.values
        first, status = op.compute(below, value)
        second = const(above, 80) if isinstance(above, int) else op.compute(above, value)[0]
        # Of a NaN the second result is the same, out of range there is none.
        is_nan = (first[78:64] == 0x7FFF) & (first[62:0] != 0)
        second = select(is_nan, first, second)
        full = in_use(cpu, 7) & ~op.empty
        status = select(full, const(IE | SF | C1, 16), status)
        first, second = (select(full, const(INDEFINITE, 80), each) for each in (first, second))
        once, new = place(cpu, 0), place(cpu, 7)
        both = const(1, 8) << once.zext(8) | const(1, 8) << new.zext(8)
        outside = (status & C2) != 0

        def write() -> None:
            cpu.mm[once], cpu.exponent[once] = first.trunc(64), first[79:64]
            cpu.mm[new], cpu.exponent[new] = second.trunc(64), second[79:64]
            cpu.ftw = cpu.ftw | both

        with when(withheld(cpu, status) | outside) as wrong:
            note(cpu, status, said)
            with wrong.otherwise():
                note(cpu, status, said, -1, write)


ONE = 0x3FFF << 64 | 1 << 63
_two_results("d9 f2", "fptan", "tan", ONE, C1 | C2)
_two_results("d9 fb", "fsincos", "sin", "cos", C1 | C2)
_two_results("d9 f4", "fxtract", "exponent", "significand", C1)


def _sign(row: str, name: str, negate: bool) -> None:
    @describe(row, name, "fpu")
    def change(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0)
        (value,) = op.values
        result = value ^ 1 << 79 if negate else value & (1 << 79) - 1
        op.put(0, *op.checked(result, const(0, 16)))


_sign("d9 e0", "fchs", True)
_sign("d9 e1", "fabs", False)

CONSTANTS = {
    "1": ("e8", 0x3FFF, (1 << 63,) * 3),
    "l2t": ("e9", 0x4000, (0xD49A784BCD1B8AFE, 0xD49A784BCD1B8AFE, 0xD49A784BCD1B8AFF)),
    "l2e": ("ea", 0x3FFF, (0xB8AA3B295C17F0BC, 0xB8AA3B295C17F0BB, 0xB8AA3B295C17F0BC)),
    "pi": ("eb", 0x4000, (0xC90FDAA22168C235, 0xC90FDAA22168C234, 0xC90FDAA22168C235)),
    "lg2": ("ec", 0x3FFD, (0x9A209A84FBCFF799, 0x9A209A84FBCFF798, 0x9A209A84FBCFF799)),
    "ln2": ("ed", 0x3FFE, (0xB17217F7D1CF79AC, 0xB17217F7D1CF79AB, 0xB17217F7D1CF79AC)),
    "z": ("ee", 0, (0, 0, 0)),
}
"""Opcode, exponent, and significand rounded to nearest, down and up."""


def _constant(name: str, opcode: str, exponent: int, mantissas: tuple[int, int, int]) -> None:
    @describe(f"d9 {opcode}", f"fld{name}", "fpu")
    def load(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        nearest, down, up = (const(mantissa, 64) for mantissa in mantissas)
        mode = cpu.fcw[11:10]
        mantissa = select(mode == 0, nearest, select(mode == 2, up, down))
        push_status(cpu, mantissa.zext(80) | exponent << 64, const(0, 16))


for _name, (_opcode, _exponent, _mantissas) in CONSTANTS.items():
    _constant(_name, _opcode, _exponent, _mantissas)
