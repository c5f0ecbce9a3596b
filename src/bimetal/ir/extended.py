"""Extended precision: the x87's operations on numbers of 80 bits (Intel SDM 1, chapter 8).

An operation is a pure function of the control word and its operands: rounding and precision come
from the one, and the result is the number with the status word above it, which says what the
operation raised from a clean state. So nothing of the host's x87 has to be kept between them. All
exceptions are masked; what unmasked ones change is up to descriptions.
"""

from __future__ import annotations

from .value import Value, lift, perform

__all__ = ["KNOWN_INEXACT", "OPERATIONS", "STATUS", "Extended", "extended"]

STATUS = 80
"""Where the status word stands in a result."""

KNOWN_INEXACT = 1 << 14
"""A bit of the control word that processors do not have: it is known already that something was
inexact, so the status says it whether or not this operation was. Programs see nothing of that, as
flags stay until they are cleared; but to look at a single operation, hosts would have to clear
theirs, which takes longer than the operation."""

OPERATIONS = {
    **dict.fromkeys(("add", "sub", "mul", "div", "prem", "prem1", "scale"), (80, 80)),
    **dict.fromkeys(("patan", "yl2x", "yl2xp1", "com", "ucom"), (80, 80)),
    **dict.fromkeys(("sqrt", "rndint", "sin", "cos", "tan", "2xm1"), (80,)),
    **dict.fromkeys(("exponent", "significand", "to_32", "to_64", "to_bcd"), (80,)),
    **dict.fromkeys(("to_i16", "to_i32", "to_i64", "cut_i16", "cut_i32", "cut_i64"), (80,)),
    "from_32": (32,), "from_64": (64,), "from_i64": (64,), "from_bcd": (80,),
}  # fmt: skip
"""The operations, and the widths of their operands. "com" and "ucom" only have a status; "to_" and
"cut_" round and truncate to other formats, in the low bits of the result."""


class Extended(Value):
    """An operation of the x87 on a control word and operands."""

    __slots__ = ("operation",)

    def __init__(self, operation: str, *args: Value):
        super().__init__("extended", STATUS + 16, args)
        self.operation = operation

    def detail(self) -> str:
        """What distinguishes it from others of its class, for people."""
        return self.operation


def extended(operation: str, control: Value, *operands: Value) -> tuple[Value, Value]:
    """Apply an operation: the result, and the status word."""
    widths = OPERATIONS[operation]
    given = [lift(value, width) for value, width in zip(operands, widths, strict=True)]
    both = perform(Extended(operation, lift(control, 16), *given))
    return both.trunc(STATUS), both[STATUS + 15 : STATUS]
