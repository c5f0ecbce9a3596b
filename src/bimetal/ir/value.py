"""Symbolic values: the guest's bit vectors while a description is being traced.

A `Value` is one static single assignment: an operation, its operands and a width in bits. Making
one appends it to the block that is being traced, so a trace keeps the order of the description.
Operations whose operands are all constant are folded at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn, SupportsIndex, TypeVar

from .ops import COMPARISONS, OPS, Result

__all__ = [
    "Block",
    "DescriptionError",
    "Operand",
    "Value",
    "compare",
    "const",
    "field_of",
    "lift",
    "perform",
    "pure",
    "select",
    "tracing",
]

Operand = "Value | int"


class DescriptionError(Exception):
    """A description says something that has no meaning; the message names file and line."""


def _site() -> str:
    """The source line of the description, outside this package's own code."""
    for frame in reversed(traceback.extract_stack()):
        if "/bimetal/ir/" not in frame.filename and "/isa/describe" not in frame.filename:
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "unknown place"


def fail(message: str) -> NoReturn:
    """Raise a `DescriptionError` that names the description's source line."""
    raise DescriptionError(f"{message}\n  at {_site()}")


class Block(list["Value"]):
    """Operations in the order of the description; nested blocks hang on ``if`` operations."""


# Each thread traces for itself: vCPUs do so as well as whoever builds a machine.
_block: ContextVar[Block | None] = ContextVar("block", default=None)


@contextmanager
def tracing(block: Block) -> Iterator[Block]:
    """Append what is traced inside to ``block``."""
    token = _block.set(block)
    try:
        yield block
    finally:
        _block.reset(token)


class Value:
    """A symbolic bit vector of ``width`` bits (0 for an operation that only has an effect).

    ``attr`` is the number of a "const" and the name of a "field".
    """

    __slots__ = ("args", "attr", "op", "width")

    def __init__(
        self, op: str, width: int, args: tuple[Value, ...] = (), attr: int | str | None = None
    ):
        self.op, self.width, self.args, self.attr = op, width, args, attr

    # -- arithmetic: both operands have one width; integers take the other's
    def __add__(self, other: Value | int) -> Value:
        return pure("add", self, other)

    def __sub__(self, other: Value | int) -> Value:
        return pure("sub", self, other)

    def __mul__(self, other: Value | int) -> Value:
        return pure("mul", self, other)

    def __and__(self, other: Value | int) -> Value:
        return pure("and", self, other)

    def __or__(self, other: Value | int) -> Value:
        return pure("or", self, other)

    def __xor__(self, other: Value | int) -> Value:
        return pure("xor", self, other)

    def __lshift__(self, other: Value | int) -> Value:
        return pure("shl", self, other)

    __radd__, __rmul__, __rand__, __ror__, __rxor__ = __add__, __mul__, __and__, __or__, __xor__

    def __rsub__(self, other: int) -> Value:
        return pure("sub", lift(other, self.width), self)

    def __rlshift__(self, other: int) -> Value:
        return pure("shl", lift(other, self.width), self)

    def __invert__(self) -> Value:
        return pure("xor", self, -1)

    def __neg__(self) -> Value:
        return pure("sub", lift(0, self.width), self)

    def lsr(self, amount: Value | int) -> Value:
        """Logical shift right; ``amount`` below the width."""
        return pure("lsr", self, amount)

    def asr(self, amount: Value | int) -> Value:
        """Arithmetic shift right; ``amount`` below the width."""
        return pure("asr", self, amount)

    # -- bits
    def __getitem__(self, bits: int | slice) -> Value:
        """``v[7]`` is one bit, ``v[15:8]`` are the bits from 15 down to 8, as manuals write."""
        hi, lo = (bits.start, bits.stop) if isinstance(bits, slice) else (bits, bits)
        if not self.width > hi >= lo >= 0:
            fail(f"bits [{hi}:{lo}] of a value of {self.width} bits")
        return pure("lsr", self, lo).trunc(hi - lo + 1)

    def zext(self, width: int) -> Value:
        """Zero-extended to ``width`` bits."""
        return self if width == self.width else pure("zext", self, width=width)

    def sext(self, width: int) -> Value:
        """Sign-extended to ``width`` bits."""
        return self if width == self.width else pure("sext", self, width=width)

    def trunc(self, width: int) -> Value:
        """The low ``width`` bits."""
        return self if width == self.width else pure("trunc", self, width=width)

    # -- truth
    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return compare("eq", self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return compare("ne", self, other)  # type: ignore[arg-type]

    __hash__ = object.__hash__

    def slt(self, other: Value | int) -> Value:
        """Signed less-than, one bit."""
        return compare("slt", self, other)

    def ult(self, other: Value | int) -> Value:
        """Unsigned less-than, one bit."""
        return compare("ult", self, other)

    def sge(self, other: Value | int) -> Value:
        """Signed greater-or-equal, one bit."""
        return compare("sle", lift(other, self.width), self)

    def uge(self, other: Value | int) -> Value:
        """Unsigned greater-or-equal, one bit."""
        return compare("ule", lift(other, self.width), self)

    def __bool__(self) -> bool:
        fail(
            "a guest value is not a Python truth: use `with when(condition):` or "
            "`select(condition, a, b)`; `pin(field)` gives the value of an encoding field"
        )

    def _order(self, _: object) -> NoReturn:
        fail("`<` does not say whether it is signed: write a.slt(b), a.ult(b), a.sge(b), a.uge(b)")

    __lt__ = __le__ = __gt__ = __ge__ = _order

    def __rshift__(self, _: object) -> NoReturn:
        fail("`>>` does not say what comes in at the top: write a.lsr(n) or a.asr(n)")

    def __index__(self) -> int:
        if self.op == "const":
            return int(self)
        fail("an index that is only known when the guest runs; `pin(field)` fixes it")

    def __int__(self) -> int:
        if self.op == "const" and isinstance(self.attr, int):
            return self.attr
        fail("a guest value is not a Python integer")

    @property
    def known(self) -> bool:
        """Whether the value is a constant of the trace."""
        return self.op == "const"

    def __repr__(self) -> str:
        detail = f" {self.attr!r}" if self.attr is not None else ""
        return f"<{self.op}:{self.width}{detail}>"


def const(value: SupportsIndex | int, width: int) -> Value:
    """A constant, cut to ``width`` bits; refuses an integer that needs more."""
    number = int(value)
    if not -(1 << width) < number < 1 << width:
        fail(f"{number:#x} does not fit in {width} bits")
    return Value("const", width, (), number & ((1 << width) - 1))


def lift(value: Value | int, width: int) -> Value:
    """``value`` as a `Value` of ``width`` bits."""
    if isinstance(value, Value):
        if value.width != width:
            fail(f"widths differ: {value.width} and {width} bits; use zext, sext or trunc")
        return value
    return const(value, width)


AnyValue = TypeVar("AnyValue", bound=Value)


def perform(value: AnyValue) -> AnyValue:
    """Append an operation to the block being traced."""
    block = _block.get()
    if block is None:
        fail(f"{value.op} outside of a trace")
    block.append(value)
    return value


def field_of(name: str, width: int) -> Value:
    """A field of the encoding, or a parameter of a routine."""
    return Value("field", width, (), name)


def _simplified(op: str, a: Value, b: Value) -> Value | None:
    """Algebraic identities that occur often in traces: ``x + 0``, ``x & -1``, a shift by
    nothing."""
    if b.op != "const":
        return None
    if b.attr == 0 and op in ("add", "sub", "or", "xor", "shl", "lsr", "asr"):
        return a
    if b.attr == (1 << b.width) - 1 and op == "and":
        return a
    return b if b.attr == 0 and op in ("and", "mul") else None


def pure(op: str, first: Value, second: Value | int | None = None, width: int = 0) -> Value:
    """Apply an operation of the table; ``width`` is the result's where the table asks for it."""
    rule = OPS[op]
    result = {Result.SAME: first.width, Result.BIT: 1, Result.GIVEN: width}[rule.result]
    extends = op in ("zext", "sext")
    if (op == "trunc" and width > first.width) or (extends and width < first.width):
        fail(f"{op} from {first.width} to {width} bits")
    args = (first,) if second is None else (first, lift(second, first.width))
    if all(a.op == "const" for a in args):
        number = rule.evaluate(first.width, *(a.attr for a in args))
        return const(number & ((1 << result) - 1), result)
    if len(args) == 2:
        if rule.commutes and args[0].op == "const":
            args = (args[1], args[0])
        simple = _simplified(op, *args)
        if simple is not None:
            return simple
        if op == "add" and args[0].op == "add" and args[0].args[0].op == "pc":
            # The distance from the program counter in one piece, whatever it is counted from.
            return pure("add", args[0].args[0], pure("add", args[0].args[1], args[1]))
    return perform(Value(op, result, args))


def compare(op: str, a: Value, b: Value | int) -> Value:
    """A comparison of the table, one bit wide."""
    assert op in COMPARISONS
    return pure(op, a, b)


def select(condition: Value | bool, a: Value | int, b: Value | int) -> Value:
    """``a`` where ``condition`` (one bit) holds, else ``b``; one of them must be a `Value`."""
    if not isinstance(a, Value):
        if not isinstance(b, Value):
            fail("select between two integers has no width")
        a = lift(a, b.width)
    b = lift(b, a.width)
    if isinstance(condition, bool):
        return a if condition else b
    if condition.width != 1:
        fail(f"a condition of {condition.width} bits")
    if condition.op == "const":
        return a if condition.attr else b
    return perform(Value("select", a.width, (condition, a, b)))
