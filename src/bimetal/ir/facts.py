"""What operations with an effect do: one table, for `check`, `analysis` and the code generator.

For each operation it says how it may end, and whether it changes state that the guest can see.
"""

from __future__ import annotations

from msgspec import Struct

from .effects import (
    Amo,
    Cas,
    Effect,
    Fence,
    FloatControl,
    FloatFlags,
    FloatOperation,
    Get,
    HostCall,
    If,
    Jump,
    Leave,
    Load,
    Local,
    LocalGet,
    LocalSet,
    Pc,
    Return,
    RoutineCall,
    Set,
    Store,
    Sync,
    Trap,
    WithNan,
)  # fmt: skip
from .value import Value

__all__ = ["FACTS", "Facts", "facts"]


class Facts(Struct, frozen=True):
    """What the engine has to know of an effect.

    ``faults``: it may raise a trap, or ask the board, after which the instruction is repeated.
    ``writes``: it changes state that the guest can see. ``ends``: nothing after it is executed.
    ``frame``: it needs a call and therefore a stack frame, so fast code leaves the instruction to
    its slow form.
    """

    faults: bool = False
    writes: bool = False
    ends: bool = False
    frame: bool = False


FACTS: dict[type[Effect], Facts] = {
    Get: Facts(),
    Set: Facts(writes=True),
    Pc: Facts(),
    Load: Facts(faults=True),
    Store: Facts(faults=True, writes=True),
    Amo: Facts(faults=True, writes=True),
    Cas: Facts(faults=True, writes=True),
    Fence: Facts(),
    If: Facts(),
    Jump: Facts(ends=True),
    Trap: Facts(faults=True, ends=True, frame=True),
    Sync: Facts(frame=True),
    Leave: Facts(frame=True),
    RoutineCall: Facts(frame=True),
    HostCall: Facts(frame=True),
    Return: Facts(ends=True),
    Local: Facts(),
    LocalGet: Facts(),
    LocalSet: Facts(),
    FloatOperation: Facts(writes=True),
    WithNan: Facts(),
    FloatFlags: Facts(frame=True),
    FloatControl: Facts(writes=True, frame=True),
}
"""The facts by class of effect. The engine adds those of its own operations (`codegen.builder`)."""

_PURE = Facts()


def facts(value: Value) -> Facts:
    """The facts of an operation; a pure one has no effects."""
    return FACTS[type(value)] if isinstance(value, Effect) else _PURE
